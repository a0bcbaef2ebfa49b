"""The kernel lens: see, touch and edit what a network has learned, in a notebook or in one offline page."""
