"""auth_param lines: who may log in, and how long that counts. Only `basic`, and only an htpasswd file.

Called by settings.py. The file itself is read where the configuration is compiled.
"""

from __future__ import annotations

import os.path
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.keywords import AUTH
from ferryman.config.dialects.squid.quantities import seconds, switch
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake
from ferryman.config.source import Diagnostics

_SCHEMES: Final = ("basic", "digest", "ntlm", "negotiate", "bearer")
_PROGRAMS: Final = ("basic_ncsa_auth", "ncsa_auth")
_REALM: Final = "Squid proxy-caching web server"


class Auth:
    """What the lines said, as keys of the native `connect`."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.settings: dict[str, object] = {}
        self.faulty = False  # a line was refused, so that the lack of a program is no news

    def read(self, arguments: Arguments) -> None:
        """A line. Raises Mistake."""
        try:
            self._read(arguments)
        except Mistake:
            self.faulty = True
            raise

    def tree(self) -> dict[str, object]:
        """The native settings; none without a program, as nobody could log in."""
        if "users" not in self.settings:
            return {}
        return {"realm": _REALM, "users_ignore_case": True, "credentials_ttl": 7200.0, **self.settings}

    def _read(self, arguments: Arguments) -> None:
        scheme = arguments.need("a scheme, such as basic")
        if scheme.text.lower() not in _SCHEMES:
            hint = nearest(scheme.text, _SCHEMES) or "write basic"
            raise Mistake(scheme, f"there is no authentication scheme {scheme.text!r}", hint)
        if scheme.text.lower() != "basic":
            raise Mistake(
                scheme, f"the scheme {scheme.text!r} is Squid's, not supported by ferryman yet", "write basic"
            )
        word = arguments.need("a parameter, such as program")
        if not AUTH.wanted(word, word.text, " ".join(rest.text for rest in arguments.words[3:]), self.diagnostics):
            arguments.rest()
            return
        match word.text:
            case "program":
                self._program(arguments)
            case "realm":
                words = arguments.rest()
                if not words:
                    raise Mistake(word, "the realm has no text")
                text = " ".join(rest.text for rest in words)
                if text[0] in "\"'" and text[-1] == text[0] and len(text) > 1:
                    text = text[1:-1]
                self.settings["realm"] = At(text, words[0].mark)
            case "credentialsttl":
                self.settings["credentials_ttl"] = seconds(arguments)
            case _:
                sensitive = switch(arguments)
                self.settings["users_ignore_case"] = At(not sensitive.value, sensitive.mark)

    def _program(self, arguments: Arguments) -> None:
        program = arguments.need("a program")
        name = os.path.basename(program.text)
        if name not in _PROGRAMS:
            message = f"the program {name!r} is Squid's, not supported by ferryman yet"
            raise Mistake(program, message, "basic_ncsa_auth FILE is: the file is read, and no program run")
        file = arguments.need("the file after basic_ncsa_auth")
        self.settings["users"] = At(file.text, file.mark)
