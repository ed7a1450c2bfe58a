"""What to search for, given the conversation. Pure."""

from __future__ import annotations

import re

from gateway.chat import ChatRequest

_TURNS = 2  # earlier user turns that may lend their words to a follow-up
_TURN_CHARS = 300
_SELF_CONTAINED_CHARS = 60  # a question this long that points nowhere names its own subject
_POINTS_BACK = re.compile(
    r"(?:^|\s)(?:그럼|그러면|그건|그거|그것|그게|그때|그런|그렇|그\s|이건|이거|이것|이게|저건)"
    r"|(?:^|\s)(?:거기|여기|위의|위에|앞의|방금|아까|또는|그리고|혹시 그)"
    r"|\b(?:it|its|that|this|those|these|they|them|there|then|same|above|instead)\b"
    r"|^(?:and|but|so|or|what about|how about)\b",
    re.IGNORECASE,
)


def search_text(request: ChatRequest) -> str:
    """The text documents are searched with.

    A first question stands for itself. A follow-up ("그럼 인턴은요?") is searched together with the last user turns
    before it, earliest first, unless it is long and points at nothing said before.
    """
    question = request.question.strip()
    earlier = [m.text.strip()[:_TURN_CHARS] for m in request.earlier if m.role == "user" and m.text.strip()]
    if not earlier or not question:
        return question
    if len(question) >= _SELF_CONTAINED_CHARS and not _POINTS_BACK.search(question):
        return question
    return "\n".join([*earlier[-_TURNS:], question])
