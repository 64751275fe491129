"""Hold the libraries of the page with their licences. `python -m pipeline.view.page.vendor` builds them again."""
