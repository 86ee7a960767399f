"""Formats: what is read and written, nothing learned."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.files.block_samples import Measured, read_block_samples
    from unrolling.files.class_scores import check_class_output, read_class_scores, write_chances, write_pixel_labels
    from unrolling.files.decoding import Arrays, check_size
    from unrolling.files.ending import ends_in_order
    from unrolling.files.gate import checked
    from unrolling.files.grid_readings import GridReadings, check_voltages_output, read_grid_readings, write_voltages
    from unrolling.files.grid_voltages import VoltageSeries, polar, read_voltage_series, write_forecasts
    from unrolling.files.kspace import image_origin, is_centred, read_kspace
    from unrolling.files.labelled_graphs import LabelledGraph, read_labelled_graph, read_labelled_graphs
    from unrolling.files.labelled_pictures import (
        LabelledPicture,
        read_labelled_picture,
        read_labelled_pictures,
        read_labels,
    )
    from unrolling.files.load_profiles import LoadProfiles, hours_of_stamp, read_load_profiles, regular_interval
    from unrolling.files.lock import InUseError, locked
    from unrolling.files.movies import check_movie_output, read_movie, write_movie
    from unrolling.files.parity_check import read_parity_check, write_alist
    from unrolling.files.pictures import Picture, in_tiles, kept_back, pillow, turned
    from unrolling.files.png16 import Header, chunks, header
    from unrolling.files.rasters import Raster, check_raster_output, read_raster, write_raster
    from unrolling.files.received import Vectors, numbers, read_sequences, read_vectors, whitened, write_symbols
    from unrolling.files.records import Expected, listed, mapping, one_of, record, text, verify
    from unrolling.files.scan import Contents, Scan, values_of
    from unrolling.files.scans import check_scan_output, read_scan, scan_files, write_scan
    from unrolling.files.sound import Applied, Processor, Recording, apply, reach, resample
    from unrolling.files.sound_bands import interpolated, shares
    from unrolling.files.sound_input import Reader, Sound, SoundFormat, finite, inspect, reading, short
    from unrolling.files.sound_length import check_whole
    from unrolling.files.sound_output import Output, match_channels, soundfile
    from unrolling.files.stacks import Moments, Stack, moments, read_stack, spread_of, write_image
    from unrolling.files.trajectories import (
        Trajectories,
        check_states_output,
        read_trajectories,
        real_array,
        write_states,
    )
    from unrolling.files.whole import check_place, check_replaceable, keeping_others, probe_folder, write_bytes, writing

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".block_samples": ("Measured read_block_samples"),
        ".class_scores": ("check_class_output read_class_scores write_chances write_pixel_labels"),
        ".decoding": ("Arrays check_size"),
        ".ending": ("ends_in_order"),
        ".gate": ("checked"),
        ".grid_readings": ("GridReadings check_voltages_output read_grid_readings write_voltages"),
        ".grid_voltages": ("VoltageSeries polar read_voltage_series write_forecasts"),
        ".kspace": ("image_origin is_centred read_kspace"),
        ".labelled_graphs": ("LabelledGraph read_labelled_graph read_labelled_graphs"),
        ".labelled_pictures": ("LabelledPicture read_labelled_picture read_labelled_pictures read_labels"),
        ".load_profiles": ("LoadProfiles hours_of_stamp read_load_profiles regular_interval"),
        ".lock": ("InUseError locked"),
        ".movies": ("check_movie_output read_movie write_movie"),
        ".parity_check": ("read_parity_check write_alist"),
        ".pictures": ("Picture in_tiles kept_back pillow turned"),
        ".png16": ("Header chunks header"),
        ".rasters": ("Raster check_raster_output read_raster write_raster"),
        ".received": ("Vectors numbers read_sequences read_vectors whitened write_symbols"),
        ".records": ("Expected listed mapping one_of record text verify"),
        ".scan": ("Contents Scan values_of"),
        ".scans": ("check_scan_output read_scan scan_files write_scan"),
        ".sound": ("Applied Processor Recording apply reach resample"),
        ".sound_bands": ("interpolated shares"),
        ".sound_input": ("Reader Sound SoundFormat finite inspect reading short"),
        ".sound_length": ("check_whole"),
        ".sound_output": ("Output match_channels soundfile"),
        ".stacks": ("Moments Stack moments read_stack spread_of write_image"),
        ".trajectories": ("Trajectories check_states_output read_trajectories real_array write_states"),
        ".whole": ("check_place check_replaceable keeping_others probe_folder write_bytes writing"),
    },
)
# fmt: off
__all__ = [
    "Applied", "Arrays", "Contents", "Expected", "GridReadings", "Header", "InUseError", "LabelledGraph",
    "LabelledPicture", "LoadProfiles", "Measured", "Moments", "Output", "Picture", "Processor", "Raster",
    "Reader", "Recording", "Scan", "Sound", "SoundFormat", "Stack", "Trajectories", "Vectors",
    "VoltageSeries", "apply", "check_class_output", "check_movie_output", "check_place",
    "check_raster_output", "check_replaceable", "check_scan_output", "check_size", "check_states_output",
    "check_voltages_output", "check_whole", "checked", "chunks", "ends_in_order", "finite", "header",
    "hours_of_stamp", "image_origin", "in_tiles", "inspect", "interpolated", "is_centred", "keeping_others",
    "kept_back", "listed", "locked", "mapping", "match_channels", "moments", "numbers", "one_of", "pillow",
    "polar", "probe_folder", "reach", "read_block_samples", "read_class_scores", "read_grid_readings",
    "read_kspace", "read_labelled_graph", "read_labelled_graphs", "read_labelled_picture",
    "read_labelled_pictures", "read_labels", "read_load_profiles", "read_movie", "read_parity_check",
    "read_raster", "read_scan", "read_sequences", "read_stack", "read_trajectories", "read_vectors",
    "read_voltage_series", "reading", "real_array", "record", "regular_interval", "resample", "scan_files",
    "shares", "short", "soundfile", "spread_of", "text", "turned", "values_of", "verify", "whitened",
    "write_alist", "write_bytes", "write_chances", "write_forecasts", "write_image", "write_movie",
    "write_pixel_labels", "write_raster", "write_scan", "write_states", "write_symbols", "write_voltages",
    "writing",
]
# fmt: on
# End of what is written.
