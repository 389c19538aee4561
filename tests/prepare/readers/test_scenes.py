"""KITTI is split by video: no video is in two splits."""

import pytest

from bench.prepare.readers.scenes import nearest_vehicle, split_by_video


@pytest.mark.parametrize("count", [20, 60, 100, 150, 200])
def test_each_video_lies_in_one_split_a_tenth_in_test_and_in_validation_each(count: int) -> None:
    """Of several numbers of videos: two draws of one may have none in common by chance."""
    videos = [f"drive_{i % count:03d}" for i in range(3 * count)]
    of_video: dict[str, set[str]] = {}
    for video, split in zip(videos, split_by_video(videos), strict=True):
        of_video.setdefault(video, set()).add(split)
    assert all(len(found) == 1 for found in of_video.values())
    found = [next(iter(found)) for found in of_video.values()]
    tenth = count // 10
    wanted = [tenth, tenth, count - 2 * tenth]
    assert [found.count(name) for name in ("test", "validation", "train")] == wanted


def test_the_splits_hang_on_the_videos_and_not_on_their_order():
    videos = [f"drive_{i:03d}" for i in range(50)]
    forwards, backwards = split_by_video(videos), split_by_video(videos[::-1])
    assert forwards == backwards[::-1]


def test_the_nearest_vehicle_counts_and_nothing_else():
    line = "{} 0 0 0 0 0 0 0 0 0 0 0 0 {} 0"
    lines = [("Car", 30.5), ("Van", 12.25), ("Pedestrian", 1.0), ("DontCare", -1000)]
    assert nearest_vehicle("\n".join(line.format(*one) for one in lines)) == 12.25
