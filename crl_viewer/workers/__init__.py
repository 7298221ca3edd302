"""Work that must not run on the GUI thread: rendering and reading files."""
