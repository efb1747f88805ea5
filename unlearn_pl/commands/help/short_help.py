"""Help texts that list the classes of this library, and not the hundreds that other packages have."""

import re
from argparse import Action

from jsonargparse import DefaultHelpFormatter

MANY = 20
_KNOWN = re.compile(r"known subclasses: ([\w.]+(?:, [\w.]+)*)")


class ShortHelp(DefaultHelpFormatter):
    """The formatter of jsonargparse, with short lists of known subclasses."""

    def _expand_help(self, action: Action) -> str:
        return _KNOWN.sub(lambda found: f"known subclasses: {_shortened(found[1])}", super()._expand_help(action))


def _shortened(listed: str) -> str:
    """The public names of this library alone, if there are many: those of its parts are longer."""
    names = listed.split(", ")
    own = [name for name in names if name.startswith("unlearn_pl.")]
    public = [name for name in own if name.count(".") == 2]
    if len(names) <= MANY or not public:
        return listed
    return f"{', '.join(public)}, and {len(names) - len(own)} of other packages"
