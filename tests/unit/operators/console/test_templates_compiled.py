"""No visitor waits for templates to be compiled, and consoles of one process share them."""

import pytest

from operators.console.catalogue import PAGES
from operators.console.rendering import Rendering


@pytest.mark.heavy
def test_a_warm_console_has_compiled_every_template_of_every_page():
    rendering = Rendering(PAGES)
    rendering.warm()
    names = {f"{page.room}/{path}" for page in PAGES for path in ("list.html.j2", "page.html.j2")}
    known = set(rendering._environment.list_templates())
    assert known & names
    compiled = {key[1] for key in rendering._environment.cache}
    assert known <= compiled


def test_consoles_of_one_process_share_what_is_compiled():
    assert Rendering(PAGES)._environment is Rendering(PAGES)._environment
