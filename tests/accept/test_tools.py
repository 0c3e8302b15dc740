"""Tests of the measuring tools, on cases worked out by hand: python3 -m unittest discover tests/accept."""

import struct
import unittest

import numpy as np
from metrics import cosines, equal_error_rate, ordered_trials, pair_trials, rank_1
from phone import mu_law, telephone


class EqualErrorRate(unittest.TestCase):
    def test_no_error_where_the_scores_do_not_overlap(self):
        rate, threshold = equal_error_rate([0.8, 0.9], [0.1, 0.2])
        self.assertEqual(rate, 0)
        self.assertTrue(0.2 < threshold <= 0.8)

    def test_one_of_four_on_either_side(self):
        rate, threshold = equal_error_rate([0.3, 0.7, 0.8, 0.9], [0.1, 0.2, 0.4, 0.75])
        self.assertAlmostEqual(rate, 0.25)
        self.assertAlmostEqual(threshold, 0.7)

    def test_interpolates_where_the_rates_do_not_meet(self):
        # At 0.6 none is rejected and 1/3 accepted, at 0.7 half are rejected and none accepted: they cross after 2/5.
        rate, threshold = equal_error_rate([0.6, 0.7], [0.1, 0.2, 0.6])
        self.assertAlmostEqual(rate, 1 / 5)
        self.assertAlmostEqual(threshold, 0.64)

    def test_everything_wrong(self):
        self.assertEqual(equal_error_rate([0.1], [0.9])[0], 1)

    def test_no_trials_are_an_error(self):
        self.assertRaises(ValueError, equal_error_rate, [], [0.5])


class Trials(unittest.TestCase):
    def test_each_pair_once_or_in_both_orders(self):
        scores, speakers = np.arange(9).reshape(3, 3), ["a", "a", "b"]
        self.assertEqual([list(part) for part in pair_trials(scores, speakers)], [[1], [2, 5]])
        self.assertEqual([list(part) for part in ordered_trials(scores, speakers)], [[1, 3], [2, 5, 6, 7]])

    def test_rank_1_does_not_find_the_utterance_itself(self):
        scores = cosines([[1, 0], [0.9, 0.1], [0.8, 0.2]], [[1, 0], [0.9, 0.1], [0.8, 0.2]])
        self.assertAlmostEqual(rank_1(scores, ["a", "b", "b"]), 1 / 3)


class Telephone(unittest.TestCase):
    def test_mu_law_is_that_of_g711(self):
        codes = mu_law([0, -1, 32767, -32768, 1000, -1000])
        self.assertEqual(codes.tolist(), [0xFF, 0x7F, 0x80, 0x00, 0xCE, 0x4E])

    def test_passes_speech_and_stops_the_rest(self):
        for hertz, passes in [(100, False), (1000, True), (3000, True), (3800, False), (6000, False)]:
            tone = 8000 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)
            codes = np.frombuffer(telephone(tone.astype(np.int16))[-8000:], np.uint8)
            # Mu-law codes of silence are 0xFF and 0x7F; of a tone at a quarter of full scale, far from it.
            loudest = (0x7F - (codes[500:-500] & 0x7F)).max()
            self.assertEqual(loudest > 0x40, passes, hertz)

    def test_is_a_wav_file_of_half_the_samples(self):
        data = telephone(np.zeros(16_001, np.int16))
        self.assertEqual(data[:4] + data[8:16], b"RIFFWAVEfmt ")
        self.assertEqual(struct.unpack("<I", data[4:8])[0], len(data) - 8)
        self.assertEqual(struct.unpack("<HHIIHHH", data[20:38]), (7, 1, 8_000, 8_000, 1, 8, 0))
        self.assertEqual(data[50:58], b"data" + struct.pack("<I", 8_001))


if __name__ == "__main__":
    unittest.main()
