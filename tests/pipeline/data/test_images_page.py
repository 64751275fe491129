from tests.support.odd.page import PAGE, filled


def test_the_page_says_what_the_code_makes_of_each_odd_input():
    assert PAGE.read_text() == filled(PAGE.read_text()), "run: python -m tests.support.odd.page"
