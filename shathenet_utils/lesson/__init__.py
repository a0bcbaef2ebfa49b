"""What a page needs: its header, live data, computed numbers, predictions before answers, exercise checks."""

from shathenet_utils.lesson.convolutions import convolution_calculator, convolution_costs
from shathenet_utils.lesson.live import data, live_images, load_or_compute
from shathenet_utils.lesson.page import (
    assert_same_network,
    check_exercise,
    differing_versions,
    environment,
    header,
    results,
)
from shathenet_utils.lesson.predictions import compare_number, compare_order, predict_number, predict_order
from shathenet_utils.lesson.shown import banner, facts_table, numbers

__all__ = [
    "assert_same_network",
    "banner",
    "check_exercise",
    "compare_number",
    "compare_order",
    "convolution_calculator",
    "convolution_costs",
    "data",
    "differing_versions",
    "environment",
    "facts_table",
    "header",
    "live_images",
    "load_or_compute",
    "numbers",
    "predict_number",
    "predict_order",
    "results",
]
