from typer.testing import Result


def output_of(result: Result) -> str:
    """Return a command's output with normalised whitespace, since line breaks depend on the terminal's width."""
    return " ".join(result.output.split())
