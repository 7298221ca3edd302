"""Widgets. They talk only through signals and setters and know nothing of scans."""
