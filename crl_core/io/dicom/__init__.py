"""DICOM in: folders, single files and zip archives, sorted into series that open as scans."""
