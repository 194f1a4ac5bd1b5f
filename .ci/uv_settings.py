"""pip's settings as uv has them: lines for a shell. Status 1 where uv has no word for one of them.

eval "$(python .ci/uv_settings.py)"
"""

import ast
import shlex
import subprocess
import sys

NAMES = {
    "cert": "SSL_CERT_FILE",
    "constraint": "UV_CONSTRAINT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
}
SEPARATORS = {"find-links": ","}
WITHOUT_EFFECT = {  # on what is installed; a file of settings is read already
    "cache-dir",
    "config-file",
    "disable-pip-version-check",
    "no-cache-dir",
    "no-color",
    "no-compile",
    "no-input",
    "no-python-version-warning",
    "no-warn-script-location",
    "progress-bar",
    "quiet",
    "require-virtualenv",
    "retries",
    "root-user-action",
    "verbose",
}


def settings() -> dict[str, str]:
    """pip's own for `pip install`, the environment's before those of files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key.removeprefix("default-")] = ast.literal_eval(value)
    return found["global"] | found["install"] | found[":env:"]


def main() -> None:
    for name, value in settings().items():
        if name in NAMES:
            text = SEPARATORS.get(name, " ").join(value.split())
            print(f"export {NAMES[name]}={shlex.quote(text)}")
        elif name not in WITHOUT_EFFECT:
            sys.exit(f"pip installs, for uv has no word for its setting {name}")
    # As pip does: of all indexes the one that has the newest version.
    print("export UV_INDEX_STRATEGY=unsafe-best-match")


if __name__ == "__main__":
    main()
