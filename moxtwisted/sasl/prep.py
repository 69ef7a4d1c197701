"""User names and passwords before they are compared: the PRECIS profiles of RFC 8265.

Two people type the same password on different keyboards and get different code points; these functions
bring them together::

    password("caf\\u0065\\u0301")         # 'café', composed
    username_case_mapped("MJL@Example")  # 'mjl@example'

Pure ASCII takes a short way; the tables of the library ``precis-i18n`` are loaded at the first other string.
"""

from __future__ import annotations

from moxtwisted.errors import MailError

__all__ = ["PreparationError", "password", "username_case_mapped", "username_case_preserved"]

MAX_CHARACTERS = 1024


class PreparationError(MailError):
    """The string has characters that no user name (or password) may have, is empty, or is overlong."""

    reply_code = 535
    enhanced_code = "5.7.8"
    imap_code = "AUTHENTICATIONFAILED"
    public_text = "user name or password has characters that are not allowed"


def _enforce(profile: str, text: str) -> str:
    import precis_i18n  # here, not above: start-up budget

    try:
        prepared: str = precis_i18n.get_profile(profile).enforce(text)
    except UnicodeEncodeError as e:
        why = e.reason
    else:
        return prepared
    # Raised out here: the library's exception holds the input, which may be a password, and would come along as context.
    raise PreparationError(f"refused by PRECIS profile {profile}: {why}")


def password(text: str) -> str:
    """Prepare a password by the OpaqueString profile.

    :return: NFC, every space mapped to U+0020; case is kept.
    :raise PreparationError: when it is empty, longer than 1024 characters or has control characters.
    """
    if not text or len(text) > MAX_CHARACTERS:
        raise PreparationError("empty or overlong password")
    # RFC 8265 section 4.2: nothing but printable ASCII leaves nothing to map.
    if text.isascii() and text.isprintable():
        return text
    return _enforce("OpaqueString", text)


def username_case_mapped(text: str) -> str:
    """Prepare a user name by the UsernameCaseMapped profile: width, case and NFC mapped.

    :raise PreparationError: for spaces, control characters, an empty or overlong name.
    """
    if not text or len(text) > MAX_CHARACTERS:
        raise PreparationError("empty or overlong user name")
    if text.isascii() and text.isprintable() and " " not in text:
        return text.lower()
    return _enforce("UsernameCaseMapped", text)


def username_case_preserved(text: str) -> str:
    """Prepare a user name by the UsernameCasePreserved profile: as the mapped one, but case is kept.

    :raise PreparationError: for spaces, control characters, an empty or overlong name.
    """
    if not text or len(text) > MAX_CHARACTERS:
        raise PreparationError("empty or overlong user name")
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return _enforce("UsernameCasePreserved", text)
