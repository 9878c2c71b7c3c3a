"""The codec that datasets and checkpoints name."""

import re
from collections.abc import Mapping
from typing import Any

from anytalk.synth.codec import Codec, load_codec
from anytalk.synth.fingerprint import difference


def named_codec(named: Mapping[str, Any], device: str = "cpu") -> Codec:
    """Load the codec of a fingerprint.

    Args:
        named: the fingerprint, which has a name.
        device: where it computes; see `synth.device.resolve`.

    Raises:
        SetupError: there is no such codec here, or its files are not in order.
    """
    bundled = load_codec("bundled", device=device)
    if not difference(named, bundled.fingerprint):
        return bundled
    # On the hub, the very commit: weights that were changed since would be another codec.
    commit = str(named.get("revision", ""))
    return load_codec(
        f"{named['name']}@{commit}" if re.fullmatch("[0-9a-f]{40}", commit) else named["name"], device=device
    )
