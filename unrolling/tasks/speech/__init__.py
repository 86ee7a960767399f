"""Enhancement and separation of speech."""

from typing import TYPE_CHECKING

from unrolling._lazy import lazy

# Written by `python -m tools.public_names`.
if TYPE_CHECKING:
    from unrolling.tasks.speech.enhancement import Enhancement
    from unrolling.tasks.speech.mixtures import Mixtures
    from unrolling.tasks.speech.noises import draw_noise
    from unrolling.tasks.speech.other_voices import coloured, in_a_room, moved_formants, other_speaker
    from unrolling.tasks.speech.recordings import (
        Corpus,
        Lazily,
        find_folders,
        generated,
        read_noises,
        read_speakers,
        speaker_of,
        split_speakers,
        stretch,
        unit_level,
    )
    from unrolling.tasks.speech.separation import Separation
    from unrolling.tasks.speech.speech_metrics import (
        SI_SDR_IMPROVEMENT,
        best_order,
        improvement_pieces,
        pesq,
        sdr,
        si_sdr,
        stoi,
    )
    from unrolling.tasks.speech.voices import Voice, draw_voice, speak
    from unrolling.tasks.speech.wiener import DecisionDirected

__getattr__, __dir__ = lazy(
    __name__,
    {
        ".enhancement": ("Enhancement"),
        ".mixtures": ("Mixtures"),
        ".noises": ("draw_noise"),
        ".other_voices": ("coloured in_a_room moved_formants other_speaker"),
        ".recordings": (
            "Corpus Lazily find_folders generated read_noises read_speakers speaker_of split_speakers stretch "
            "unit_level"
        ),
        ".separation": ("Separation"),
        ".speech_metrics": ("SI_SDR_IMPROVEMENT best_order improvement_pieces pesq sdr si_sdr stoi"),
        ".voices": ("Voice draw_voice speak"),
        ".wiener": ("DecisionDirected"),
    },
)
# fmt: off
__all__ = [
    "Corpus", "DecisionDirected", "Enhancement", "Lazily", "Mixtures", "SI_SDR_IMPROVEMENT", "Separation",
    "Voice", "best_order", "coloured", "draw_noise", "draw_voice", "find_folders", "generated",
    "improvement_pieces", "in_a_room", "moved_formants", "other_speaker", "pesq", "read_noises",
    "read_speakers", "sdr", "si_sdr", "speak", "speaker_of", "split_speakers", "stoi", "stretch",
    "unit_level",
]
# fmt: on
# End of what is written.
