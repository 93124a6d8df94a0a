"""Writes the page's types, `src/types/`, from where they are defined: the OpenAPI document and the stream's topics.

python web/generate.py            with openapi-typescript of `web/node_modules`
python web/generate.py --check    fails where a file is not what would be written
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import build
import msgspec

from tapeflow.api.limits import Limits
from tapeflow.api.openapi import document
from tapeflow.api.topics import FORMING, LATEST, LOSSLESS
from tapeflow.stores.channels import CHANNELS

WEB = Path(__file__).resolve().parent
TYPES = WEB / "src" / "types"
_WORDS = {
    "text": "string",
    "id": "string",
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "time": "number",
    "price": "string",
    "size": "string",
    "quote": "string",
    "levels": "[string, string][]",
    "values": "Record<string, number | null>",
    "bytes": "string",
}
#: What may be null, as the contract says.
_NULLABLE = {"quote_volume", "ts_event", "first_id", "last_id", "reason", "vwap"}
_STREAM = """
/** A message about one key; `prev` is the cursor of the message before it for that key. */
export interface DataMessage<C extends ChannelName = ChannelName> {
  type: "snapshot" | "update";
  channel: C;
  venue: string;
  symbol: string;
  interval?: string;
  name?: string;
  window_ms?: number;
  slide_ms?: number;
  prev?: string;
  cursor: string;
  conflated?: number;
  data: Rows[C][];
}
"""


def rows() -> str:
    """`rows.ts`: a row of each channel, and which channel has which rows."""
    names = [name for name in (*LOSSLESS, *LATEST) if name.removesuffix(FORMING) in CHANNELS]
    parts = ["// Written by web/generate.py from tapeflow.stores.channels and tapeflow.api.topics.\n"]
    for base in dict.fromkeys(name.removesuffix(FORMING) for name in names):
        fields = "".join(
            f"  {field}: {_WORDS[kind]}{' | null' if field in _NULLABLE else ''};\n"
            for field, kind in CHANNELS[base].fields
        )
        parts.append(f"\nexport interface {_name(base)} {{\n{fields}}}\n")
    of = "".join(f'  "{name}": {_name(name.removesuffix(FORMING))};\n' for name in names)
    parts.append(f"\nexport interface Rows {{\n{of}}}\n\nexport type ChannelName = keyof Rows;\n")
    lossless = ", ".join(f'"{name}"' for name in LOSSLESS)
    parts.append(f"\nexport const LOSSLESS: ReadonlySet<string> = new Set([{lossless}]);\n")
    return "".join(parts) + _STREAM


def _name(channel: str) -> str:
    words = "".join(word.capitalize() for word in channel.split("_"))
    return words.removesuffix("s") + "Row"


def api() -> str:
    """`api.ts`, by openapi-typescript."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "openapi.json"
        found = msgspec.json.decode(document(Limits(has_alerts=True)))
        found["info"]["version"] = "0"  # a new version is no new type
        source.write_bytes(msgspec.json.encode(found))
        command = [*build.node()[0], str(WEB / "node_modules/openapi-typescript/bin/cli.js"), str(source)]
        made = Path(folder) / "api.ts"
        command += ["-o", str(made), "--properties-required-by-default", "--alphabetize"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        return made.read_text()


def main() -> None:
    """Write or check."""
    is_check = "--check" in sys.argv[1:]
    TYPES.mkdir(parents=True, exist_ok=True)
    for name, text in (("rows.ts", rows()), ("api.ts", api())):
        path = TYPES / name
        if is_check and (not path.exists() or path.read_text() != text):
            sys.exit(f"{path} is not what the server says; run python web/generate.py")
        path.write_text(text)


if __name__ == "__main__":
    main()
