"""DICOM in: folders, single files and zip archives, sorted into series that open as scans.

The way of a file: `files` finds it, `headers` reads its header, `frames` makes slices of it,
`grouping` and `geometry` sort slices into volumes or say why they are none, `sequences` and
`timing` tell what was acquired, `listing` puts it together, `pixels` and `codecs` read the voxels.
What this reader cannot read goes to dcm2niix where that is installed (`fallback`).
"""

from crl_core.io.dicom.listing import find_series, is_dicom
from crl_core.io.dicom.reading import read_series, thumbnail
from crl_core.io.dicom.series import Series, choose_series

__all__ = ["Series", "choose_series", "find_series", "is_dicom", "read_series", "thumbnail"]
