//! Drawing primitives. One unit is a thousandth of the picture's width; the origin is the upper left corner.

use image::RgbImage;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A picture that is being drawn, and the random numbers that make each picture a little different.
pub(super) struct Canvas {
    image: RgbImage,
    dice: StdRng,
    /// Pixels per unit.
    scale: f32,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, seed: u64) -> Self {
        let scale = width as f32 / 1000.0;
        Canvas {
            image: RgbImage::new(width, height),
            dice: StdRng::seed_from_u64(seed),
            scale,
        }
    }

    pub(super) fn into_image(self) -> RgbImage {
        self.image
    }

    /// The picture's height in units; its width is 1000.
    pub(super) fn height(&self) -> f32 {
        self.image.height() as f32 / self.scale
    }

    /// A random number from `low` to `high`.
    pub(super) fn any(&mut self, low: f32, high: f32) -> f32 {
        self.dice.random_range(low..high)
    }

    /// A random one of `choices`.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.dice.random_range(0..choices.len())]
    }

    /// Fills the rows from `top` to `bottom` with a gradient.
    pub(super) fn gradient(&mut self, top: f32, bottom: f32, from: Colour, to: Colour) {
        for (row, y) in self.rows(top, bottom) {
            self.span(row, 0.0, 1000.0, mix(from, to, (y - top) / (bottom - top)));
        }
    }

    pub(super) fn rectangle(
        &mut self,
        [x, y]: [f32; 2],
        [width, height]: [f32; 2],
        colour: Colour,
    ) {
        self.polygon(
            &[
                [x, y],
                [x + width, y],
                [x + width, y + height],
                [x, y + height],
            ],
            colour,
        );
    }

    pub(super) fn circle(&mut self, centre: [f32; 2], radius: f32, colour: Colour) {
        self.ellipse(centre, [radius, radius], colour);
    }

    pub(super) fn ellipse(&mut self, [x, y]: [f32; 2], [across, down]: [f32; 2], colour: Colour) {
        for (row, here) in self.rows(y - down, y + down) {
            let half = across * (1.0 - ((here - y) / down).powi(2)).max(0.0).sqrt();
            self.span(row, x - half, x + half, colour);
        }
    }

    /// Draws a curve through `points`, `thickness` units thick, with round joints.
    pub(super) fn curve(&mut self, points: &[[f32; 2]], thickness: f32, colour: Colour) {
        for pair in points.windows(2) {
            let ([x0, y0], [x1, y1]) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0).max(0.001);
            let (across, down) = (
                (y1 - y0) / length * thickness / 2.0,
                (x1 - x0) / length * thickness / 2.0,
            );
            let corners = [
                [x0 + across, y0 - down],
                [x1 + across, y1 - down],
                [x1 - across, y1 + down],
                [x0 - across, y0 + down],
            ];
            self.polygon(&corners, colour);
            self.circle(pair[1], thickness / 2.0, colour);
        }
    }

    /// Draws the part of an ellipse between two angles (in turns, clockwise from the right) as a thick curve.
    pub(super) fn arc(
        &mut self,
        [x, y]: [f32; 2],
        [across, down]: [f32; 2],
        turns: [f32; 2],
        pen: (f32, Colour),
    ) {
        let point = |step: i32| {
            let angle =
                (turns[0] + (turns[1] - turns[0]) * step as f32 / 40.0) * std::f32::consts::TAU;
            [x + across * angle.cos(), y + down * angle.sin()]
        };
        let points: Vec<[f32; 2]> = (0..=40).map(point).collect();
        self.curve(&points, pen.0, pen.1);
    }

    pub(super) fn polygon(&mut self, points: &[[f32; 2]], colour: Colour) {
        let low = points.iter().map(|point| point[1]).fold(f32::MAX, f32::min);
        let high = points.iter().map(|point| point[1]).fold(f32::MIN, f32::max);
        for (row, y) in self.rows(low, high) {
            let edges = points.iter().zip(points.iter().cycle().skip(1));
            let crossed = edges.filter(|(a, b)| (a[1] <= y) != (b[1] <= y));
            let mut xs: Vec<f32> = crossed
                .map(|(a, b)| a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
                .collect();
            xs.sort_by(f32::total_cmp);
            for pair in xs.chunks_exact(2) {
                self.span(row, pair[0], pair[1], colour);
            }
        }
    }

    /// Fills everything below a wavy line around `y`: hills of this `height`.
    pub(super) fn hills(&mut self, y: f32, height: f32, colour: Colour) {
        let (phase, stretch) = (self.any(0.0, 6.0), self.any(130.0, 220.0));
        let line = |step: i32| {
            let x = step as f32 * 20.0;
            let wave = (x / stretch + phase).sin() + 0.5 * (x / stretch * 2.3 + phase * 2.0).sin();
            [x, y - wave * height / 1.5]
        };
        let mut points: Vec<[f32; 2]> = (0..=50).map(line).collect();
        points.extend([[1000.0, self.height()], [0.0, self.height()]]);
        self.polygon(&points, colour);
    }

    /// The rows of pixels from `top` to `bottom`, each with the position of its middle in units.
    fn rows(&self, top: f32, bottom: f32) -> impl Iterator<Item = (u32, f32)> + use<> {
        let (scale, height) = (self.scale, self.image.height() as f32);
        let row = |y: f32| (y * scale).round().clamp(0.0, height) as u32;
        (row(top)..row(bottom)).map(move |row| (row, (row as f32 + 0.5) / scale))
    }

    fn span(&mut self, row: u32, from: f32, to: f32, colour: Colour) {
        let width = self.image.width();
        let column = |x: f32| (x * self.scale).round().clamp(0.0, width as f32) as usize;
        let (from, to) = (column(from), column(to));
        if from < to {
            let start = (row as usize * width as usize + from) * 3;
            let pixels = colour.repeat(to - from);
            let bytes: &mut [u8] = &mut self.image;
            bytes[start..start + pixels.len()].copy_from_slice(&pixels);
        }
    }
}

/// The colour between `from` and `to`, where 0 is `from` and 1 is `to`.
pub(super) fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|at| {
        (f32::from(from[at]) * (1.0 - share) + f32::from(to[at]) * share) as u8
    })
}
