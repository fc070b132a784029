"""Settings of Sphinx. `make docs` builds the pages; see CONTRIBUTING.md."""

import jspgfn

project = "jspgfn"
author = "the jspgfn authors"
copyright = f"2026, {author}"
version = release = jspgfn.__version__

extensions = [
    "myst_nb",  # Markdown pages and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

html_theme = "furo"
html_title = f"jspgfn {release}"
html_static_path = ["_static"]
html_css_files = ["jspgfn.css"]
html_show_sourcelink = False

# Docstrings name things in single backticks; what is no name stays plain code.
default_role = "py:obj"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the numpydoc sections say more than the annotations
napoleon_google_docstring = False
napoleon_use_rtype = False

# Notebooks are stored without outputs and run here. The tests run them as well, and build
# the pages with execution switched off.
nb_execution_mode = "auto"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]
