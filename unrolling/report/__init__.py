"""Pages and tables made from comparisons."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.report.chart import Axes, line_chart, linear_ticks, log_ticks, tick_text, y_range
    from unrolling.report.codes import Code, CodeGroup, code_groups, magnitudes, stems
    from unrolling.report.collection import read_comparison, write_collection
    from unrolling.report.figures import Figure, both_widths, drawn, error_by_iteration, error_by_time, quality_tick
    from unrolling.report.images import busiest_window, data_uri, grey, mosaic, png, png_within
    from unrolling.report.labels import Series, along, marker, name_beside, names_below, wrap
    from unrolling.report.page import environment, render, table_rows, write_page
    from unrolling.report.parameters import moved, parameter_figures, parameter_rows, spread_text
    from unrolling.report.pictures import Gallery, Image, Slider, atom_images, galleries, sliders
    from unrolling.report.sounds import groups, spectrogram, wav_uri
    from unrolling.report.study import (
        coverage_rows,
        coverage_words,
        criteria_rows,
        layer_figures,
        safeguard_words,
        shift_figures,
        size_figure,
        spread_words,
    )
    from unrolling.report.survey_table import entries, markdown_survey_table, stored_comparisons, write_survey_table
    from unrolling.report.table import (
        batch_sizes,
        best,
        best_quality,
        contending,
        cost_rows,
        markdown,
        markdown_table,
        network_row,
        paired_text,
        print_table,
        ratio,
        spread_heads,
        spread_rows,
    )
    from unrolling.report.text import (
        bytes_text,
        count_text,
        decimals,
        digits,
        interval_text,
        quality_text,
        rate_text,
        ratio_text,
        seconds_text,
        seconds_tick,
        shape_text,
        value_text,
        work_text,
    )
    from unrolling.report.time_series import charts

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".chart": ("Axes line_chart linear_ticks log_ticks tick_text y_range"),
        ".codes": ("Code CodeGroup code_groups magnitudes stems"),
        ".collection": ("read_comparison write_collection"),
        ".figures": ("Figure both_widths drawn error_by_iteration error_by_time quality_tick"),
        ".images": ("busiest_window data_uri grey mosaic png png_within"),
        ".labels": ("Series along marker name_beside names_below wrap"),
        ".page": ("environment render table_rows write_page"),
        ".parameters": ("moved parameter_figures parameter_rows spread_text"),
        ".pictures": ("Gallery Image Slider atom_images galleries sliders"),
        ".sounds": ("groups spectrogram wav_uri"),
        ".study": (
            "coverage_rows coverage_words criteria_rows layer_figures safeguard_words shift_figures size_figure "
            "spread_words"
        ),
        ".survey_table": ("entries markdown_survey_table stored_comparisons write_survey_table"),
        ".table": (
            "batch_sizes best best_quality contending cost_rows markdown markdown_table network_row paired_text "
            "print_table ratio spread_heads spread_rows"
        ),
        ".text": (
            "bytes_text count_text decimals digits interval_text quality_text rate_text ratio_text seconds_text "
            "seconds_tick shape_text value_text work_text"
        ),
        ".time_series": ("charts"),
    },
)
# fmt: off
__all__ = [
    "Axes", "Code", "CodeGroup", "Figure", "Gallery", "Image", "Series", "Slider", "along", "atom_images",
    "batch_sizes", "best", "best_quality", "both_widths", "busiest_window", "bytes_text", "charts",
    "code_groups", "contending", "cost_rows", "count_text", "coverage_rows", "coverage_words",
    "criteria_rows", "data_uri", "decimals", "digits", "drawn", "entries", "environment",
    "error_by_iteration", "error_by_time", "galleries", "grey", "groups", "interval_text", "layer_figures",
    "line_chart", "linear_ticks", "log_ticks", "magnitudes", "markdown", "markdown_survey_table",
    "markdown_table", "marker", "mosaic", "moved", "name_beside", "names_below", "network_row",
    "paired_text", "parameter_figures", "parameter_rows", "png", "png_within", "print_table", "quality_text",
    "quality_tick", "rate_text", "ratio", "ratio_text", "read_comparison", "render", "safeguard_words",
    "seconds_text", "seconds_tick", "shape_text", "shift_figures", "size_figure", "sliders", "spectrogram",
    "spread_heads", "spread_rows", "spread_text", "spread_words", "stems", "stored_comparisons",
    "table_rows", "tick_text", "value_text", "wav_uri", "work_text", "wrap", "write_collection",
    "write_page", "write_survey_table", "y_range",
]
# fmt: on
# End of what is written.
