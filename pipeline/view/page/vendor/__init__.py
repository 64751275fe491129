"""Hold the libraries of the page, each in one classic script, with their licences. `python -m pipeline.view.page.vendor` rebuilds them."""
