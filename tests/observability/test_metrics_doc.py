"""The page of metrics says what the code exports."""

from bench.metrics_doc import PATH, text


def test_the_metrics_page_is_what_the_code_says() -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run: python -m bench metrics-doc"
