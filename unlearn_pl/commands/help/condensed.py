"""What a tree of jsonargparse's attempts says to a user: the lines that name a mistake, and nothing else."""

import re

UNION = "Does not validate against any of the Union subtypes"
"""First line of such a tree, as it is raised while components are made."""

_NOISE = re.compile(  # lines that say nothing to a user
    rf"^({UNION}|Subtypes: .*|Errors:|Expected a <class 'NoneType'>"
    r"|Parser key .*:|Problem with given class_path .*:|Given value type: .*|Given value: NestedArg.*"
    r"|Given value: .*Namespace\(.*|Expected a path but .* either not accessible or invalid)$"
)
_WRAPPED = re.compile(r"^Type typing\.Callable\S*(?: \S+)* expects a function or a callable class: ")
_ALTERNATIVE = re.compile(r"^Expected a <class '[^']+'>$")
_OUTER = re.compile(r"(?<=\S)\.? Got value: Namespace\(.*$")


def condensed(message: str) -> str:
    """``message`` on one line, without what the parser has tried in vain and the configuration that it repeats.

    Args:
        message: of jsonargparse, which may be a tree of lines.
    """
    lines = [_WRAPPED.sub("", line.strip().removeprefix("- ")) for line in message.splitlines()]
    told = [_OUTER.sub("", line) for line in lines if line and not _NOISE.match(line)]
    kept = [line for line in told if not _ALTERNATIVE.match(line)] or told  # a reason says more than what else would do
    return " ".join(dict.fromkeys(kept)) or " ".join(message.split())
