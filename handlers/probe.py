"""Ask a health page: `python -m handlers.probe URL`, exit code 0 or 1. For Docker, which has no probe of its own."""

import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 10.0


def failure(url: str) -> str | None:
    """Say why a page is not well; None if it is.

    Args:
        url: Of this very machine, so that a certificate proves nothing and is not looked at.
    """
    unverified = ssl._create_unverified_context()
    try:
        urllib.request.urlopen(url, timeout=TIMEOUT_S, context=unverified).close()
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return f"{url} does not answer: {error}"
    return None


if __name__ == "__main__":
    sys.exit(failure(sys.argv[1]))
