"""Pages of one file in a browser: whatever they ask of the network or say to the console fails the test."""

from contextlib import contextmanager


@contextmanager
def visiting(browser):
    """Gives a function that opens a file at a width, light or dark."""
    said, contexts = [], []

    def opened(path, width=1280, scheme="light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        view = contexts[-1].new_page()
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else said.append(r.url))
        view.goto(path.as_uri())
        return view

    yield opened
    for context in contexts:
        context.close()
    assert not said
