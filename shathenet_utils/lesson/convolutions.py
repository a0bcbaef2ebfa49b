"""A calculator of what convolutions cost, with sliders."""

import html

from shathenet_utils.lesson.shown import Shown


def convolution_costs(kernel_size: int, channels: int, filters: int, side: int) -> dict[str, tuple[int, int]]:
    """Three ways to reach a receptive field of `kernel_size` pixels, odd: way → (parameters, MACs per image).

    channels, filters: of the feature map before and after. side: of both feature maps, in pixels; padding "same", one
    bias per filter. MACs: multiply-accumulates.
    """

    def cost(*kernel_areas):
        channels_before = (channels, *[filters] * (len(kernel_areas) - 1))
        weights = sum(area * count * filters for area, count in zip(kernel_areas, channels_before, strict=True))
        return weights + filters * len(kernel_areas), weights * side**2

    threes = max(1, (kernel_size - 1) // 2)
    return {
        f"one {kernel_size}×{kernel_size}": cost(kernel_size**2),
        f"1×{kernel_size}, then {kernel_size}×1": cost(kernel_size, kernel_size),
        f"{threes} of 3×3, one after another": cost(*[9] * threes),
    }


def convolution_calculator(kernel_size: int = 5, channels: int = 64, filters: int = 64, side: int = 24) -> Shown:
    """What a convolution costs, with a slider per number; where widgets are dead, a table of the first values."""
    import ipywidgets as widgets
    import pandas

    columns = ("convolutions", "parameters", "million MACs per image")

    def rows(**values):
        costs = convolution_costs(**values)
        return [(way, f"{weights:,}", f"{macs / 1e6:,.1f}") for way, (weights, macs) in costs.items()]

    def markup(**values):
        return pandas.DataFrame(rows(**values), columns=columns).to_html(index=False, border=0)

    first = {"kernel_size": kernel_size, "channels": channels, "filters": filters, "side": side}
    limits = {"kernel_size": (3, 11, 2), "channels": (1, 256, 1), "filters": (1, 256, 1), "side": (2, 64, 1)}
    sliders = {
        name: widgets.IntSlider(
            value=first[name], min=low, max=high, step=step, description=name.replace("_", " "),
            style={"description_width": "initial"},
        )
        for name, (low, high, step) in limits.items()
    }  # fmt: skip
    table = widgets.HTML(markup(**first))

    def redraw(_):
        table.value = markup(**{name: slider.value for name, slider in sliders.items()})

    for slider in sliders.values():
        slider.observe(redraw, "value")
    title = f"At {kernel_size}×{kernel_size}, {channels} channels, {filters} filters, feature maps of {side}×{side}: "
    words = title + "; ".join(
        f"{way}: {weights} parameters, {macs} {columns[2]}" for way, weights, macs in rows(**first)
    )
    box = widgets.VBox([*sliders.values(), table])
    return Shown(f"<p>{html.escape(title)}</p>{markup(**first)}", words + ".", box)
