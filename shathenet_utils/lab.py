"""What `make lab` serves pages with: so that opening one does not mark it unsaved, whichever Python is installed.

JupyterLab writes what the kernel reports of its language, the version of Python too, into a notebook's metadata as soon
as its kernel runs. A page that was stored by another version would thereby be changed by being opened.
"""

from ipykernel.ipkernel import IPythonKernel
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager


class PageManager(AsyncLargeFileManager):
    """Jupyter's files, and notebooks with the language of the kernel that is installed here; files stay as they are."""

    async def get(self, path, content=True, **arguments):
        """A file's model, as JupyterLab asks for it."""
        model = await super().get(path, content=content, **arguments)
        if model["type"] == "notebook" and model["content"] is not None:
            model["content"]["metadata"]["language_info"] = IPythonKernel.language_info
        return model
