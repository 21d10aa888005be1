"""Reads the reference images of a create call as the provider does: by their links, or out of their data URIs."""

import base64
import hashlib
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from local.simulator.image_files import ImageInfo
from local.simulator.models import Model
from local.simulator.validation import MAX_IMAGE_BYTES, image_bytes_fault, pair_fault

_SECONDS = 10


class ImageReader:
    """Opens links without a key. `ca_bundle`: what servers' certificates must descend from (None: the system's)."""

    def __init__(self, ca_bundle: Path | None) -> None:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca_bundle:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_bundle)))
        self._opener = urllib.request.build_opener(*handlers)

    def read(self, params: dict[str, Any], model: Model) -> list[dict[str, Any]]:
        """Every image of valid parameters, in order: `location`, `form` (url or data), `size`, `sha256`, and a `fault`.

        An image that cannot be read has neither size nor digest; its `fault` says why. None is a good one.
        """
        images = [(f"images[{number}]", image) for number, image in enumerate(params.get("images") or [])]
        for place, subject in enumerate(params.get("subjects") or []):
            images += [(f"subjects[{place}].images[{n}]", image) for n, image in enumerate(subject.get("images", ()))]
        with ThreadPoolExecutor(max(1, len(images))) as pool:
            found = list(pool.map(lambda image: self._read(image[0], image[1], model), images))
        if (fault := pair_fault([size for _, size in found], model)) is not None:
            found[1][0]["fault"] = fault
        return [seen for seen, _ in found]

    def _read(self, location: str, reference: str, model: Model) -> tuple[dict[str, Any], ImageInfo | None]:
        seen: dict[str, Any] = {
            "location": location,
            "form": "data" if reference.startswith("data:") else "url",
            "size": None,
            "sha256": None,
        }
        try:
            data = self._bytes(reference)
        except (OSError, ValueError) as error:
            return seen | {"fault": f"cannot be read: {error}"}, None
        fault, size = image_bytes_fault(data, model)
        return seen | {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "fault": fault}, size

    def _bytes(self, reference: str) -> bytes:
        if reference.startswith("data:"):
            return base64.b64decode(reference.partition(",")[2])
        with self._opener.open(reference, timeout=_SECONDS) as response:
            content: bytes = response.read(MAX_IMAGE_BYTES + 1)
        return content
