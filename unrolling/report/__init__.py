"""Pages and tables made from comparisons."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.report.chart import (
        Axes,
        Series,
        line_chart,
        linear_ticks,
        log_ticks,
        marker,
        tick_text,
        wrap,
        y_range,
    )
    from unrolling.report.collection import Read, read_comparison, write_collection
    from unrolling.report.figures import (
        Code,
        CodeGroup,
        Figure,
        Gallery,
        Image,
        atom_images,
        code_groups,
        drawn,
        error_by_iteration,
        error_by_time,
        galleries,
        moved,
        parameter_figures,
        parameter_rows,
        quality_tick,
        shape_text,
        stems,
        value_text,
    )
    from unrolling.report.images import busiest_window, data_uri, grey, mosaic, png, png_within
    from unrolling.report.page import environment, render, table_rows, write_page
    from unrolling.report.sounds import groups, spectrogram, wav_uri
    from unrolling.report.study import (
        Slider,
        criteria_rows,
        layer_figures,
        safeguard_words,
        shift_figures,
        size_figure,
        sliders,
        spread_words,
    )
    from unrolling.report.table import (
        batch_sizes,
        best,
        bytes_text,
        cost_rows,
        count_text,
        decimals,
        digits,
        interval_text,
        markdown,
        markdown_table,
        network_row,
        paired_text,
        print_table,
        quality_text,
        rate_text,
        ratio,
        ratio_text,
        seconds_text,
        seconds_tick,
        work_text,
    )

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".chart": ("Axes Series line_chart linear_ticks log_ticks marker tick_text wrap y_range"),
        ".collection": ("Read read_comparison write_collection"),
        ".figures": (
            "Code CodeGroup Figure Gallery Image atom_images code_groups drawn error_by_iteration error_by_time "
            "galleries moved parameter_figures parameter_rows quality_tick shape_text stems value_text"
        ),
        ".images": ("busiest_window data_uri grey mosaic png png_within"),
        ".page": ("environment render table_rows write_page"),
        ".sounds": ("groups spectrogram wav_uri"),
        ".study": ("Slider criteria_rows layer_figures safeguard_words shift_figures size_figure sliders spread_words"),
        ".table": (
            "batch_sizes best bytes_text cost_rows count_text decimals digits interval_text markdown markdown_table "
            "network_row paired_text print_table quality_text rate_text ratio ratio_text seconds_text seconds_tick "
            "work_text"
        ),
    },
)
# fmt: off
__all__ = [
    "Axes", "Code", "CodeGroup", "Figure", "Gallery", "Image", "Read", "Series", "Slider", "atom_images",
    "batch_sizes", "best", "busiest_window", "bytes_text", "code_groups", "cost_rows", "count_text",
    "criteria_rows", "data_uri", "decimals", "digits", "drawn", "environment", "error_by_iteration",
    "error_by_time", "galleries", "grey", "groups", "interval_text", "layer_figures", "line_chart",
    "linear_ticks", "log_ticks", "markdown", "markdown_table", "marker", "mosaic", "moved", "network_row",
    "paired_text", "parameter_figures", "parameter_rows", "png", "png_within", "print_table", "quality_text",
    "quality_tick", "rate_text", "ratio", "ratio_text", "read_comparison", "render", "safeguard_words",
    "seconds_text", "seconds_tick", "shape_text", "shift_figures", "size_figure", "sliders", "spectrogram",
    "spread_words", "stems", "table_rows", "tick_text", "value_text", "wav_uri", "work_text", "wrap",
    "write_collection", "write_page", "y_range",
]
# fmt: on
# End of what is written.
