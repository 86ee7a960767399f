"""The site: `make docs` writes it to out/site. Nothing in it comes from a network."""

import importlib
import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # examples print the same numbers on every machine
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

from unrolling import __version__  # noqa: E402

GENERATORS = ("api", "systems", "benchmarks")  # modules of tools.site with `write(docs)`; git ignores what they write

project = "unrolling"
author = "The unrolling developers"
copyright = "2026, the unrolling developers"
version = release = __version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinxcontrib.bibtex",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
    "sphinx_copybutton",
    "tools.site.docstrings",
    "tools.site.examples",
    "tools.site.repository",
    "tools.site.theme",
]
exclude_patterns = ["comparisons/**", "benchmarks/results/**", "gallery/**/GALLERY_HEADER.rst", "gallery/**/*.py"]
suppress_warnings = ["toc.empty_glob", "config.cache"]
root_doc = "index"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
mathjax_path = "mathjax/tex-svg.js"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

bibtex_bibfiles = ["../unrolling/systems/papers.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "plain"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 110
python_use_unqualified_type_names = True
add_module_names = False

# fmt: off
SECTIONS = (
    "first_steps", "gradients", "sparse", "imaging", "medical", "sound", "communications", "graphs", "tracking",
    "power", "vision", "in_use",
)
# fmt: on
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "subsection_order": [f"../examples/{section}" for section in SECTIONS],
    "within_subsection_order": "tools.site.order.Order",
    "ignore_pattern": r"(^|[/\\])run_(exported|onnx)\.py",
    "filename_pattern": r"examples/[a-z_]+/",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "plot_gallery": "True",  # `make docs SPHINX="-D plot_gallery=0"` leaves the examples out
    "show_memory": False,
    "show_signature": False,
    "capture_repr": ("_repr_html_",),
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib", "tools.site.style.apply", "tools.site.limits.watch"),
    "reset_modules_order": "both",
    "backreferences_dir": "gallery/backreferences",
    "doc_module": ("unrolling",),
    "reference_url": {"unrolling": None},
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": 1,
    "write_computation_times": False,
    "copyfile_regex": r"^$",
}

html_theme = "pydata_sphinx_theme"
html_title = "unrolling"
html_static_path = ["_static"]
html_css_files = ["css/site.css", "css/systems.css"]
html_logo = None
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_use_index = False  # the reference lists every name by package, and the search finds them
html_domain_indices = False
html_show_sourcelink = False
html_sidebars = {"index": [], "references": [], "contribute": []}
html_theme_options = {
    "logo": {
        "image_light": "_static/logo-light.svg",
        "image_dark": "_static/logo-dark.svg",
        "alt_text": "",
        "text": "unrolling",
    },
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_depth": 3,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "primary_sidebar_end": [],
    "footer_start": ["copyright"],
    "footer_end": [],
    "back_to_top_button": False,
}


def write_pages(app: object) -> None:
    for name in GENERATORS:
        importlib.import_module(f"tools.site.{name}").write(DOCS)


def setup(app) -> dict[str, bool]:
    app.connect("builder-inited", write_pages, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
