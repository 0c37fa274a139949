//! Generated profile pictures in two tones.

use super::canvas::{Canvas, mix};

pub(super) fn draw(canvas: &mut Canvas) {
    let (ground, figure) = canvas.one_of(&[
        ([250, 214, 196], [196, 88, 76]),
        ([204, 226, 240], [52, 98, 146]),
        ([216, 236, 208], [74, 128, 84]),
        ([246, 230, 182], [190, 130, 40]),
        ([226, 214, 242], [110, 82, 160]),
        ([206, 236, 232], [44, 126, 124]),
        ([244, 212, 226], [176, 72, 120]),
    ]);
    canvas.gradient(0.0, 1000.0, mix(ground, [255; 3], 0.25), ground);
    let motifs = [person, cat, mountain, flower];
    canvas.one_of(&motifs)(canvas, ground, figure);
}

fn person(canvas: &mut Canvas, _: [u8; 3], figure: [u8; 3]) {
    canvas.ellipse([500.0, 1010.0], [370.0, 380.0], figure);
    canvas.circle([500.0, 400.0], 190.0, mix(figure, [255; 3], 0.18));
}

fn cat(canvas: &mut Canvas, ground: [u8; 3], figure: [u8; 3]) {
    for side in [-1.0, 1.0] {
        let ear = [
            [500.0 + side * 300.0, 210.0],
            [500.0 + side * 290.0, 560.0],
            [500.0 + side * 60.0, 380.0],
        ];
        canvas.polygon(&ear, figure);
    }
    canvas.ellipse([500.0, 580.0], [310.0, 260.0], figure);
    for side in [-1.0, 1.0] {
        canvas.circle([500.0 + side * 120.0, 540.0], 38.0, ground);
        canvas.arc(
            [500.0 + side * 40.0, 640.0],
            [40.0, 34.0],
            [0.0, 0.5],
            (16.0, ground),
        );
    }
}

fn mountain(canvas: &mut Canvas, ground: [u8; 3], figure: [u8; 3]) {
    canvas.circle([690.0, 320.0], 100.0, mix(figure, [255; 3], 0.5));
    canvas.polygon(
        &[[420.0, 1000.0], [760.0, 470.0], [1100.0, 1000.0]],
        mix(figure, ground, 0.35),
    );
    canvas.polygon(&[[-60.0, 1000.0], [390.0, 350.0], [840.0, 1000.0]], figure);
}

fn flower(canvas: &mut Canvas, ground: [u8; 3], figure: [u8; 3]) {
    for petal in 0..6 {
        let angle = petal as f32 / 6.0 * std::f32::consts::TAU;
        canvas.circle(
            [500.0 + 200.0 * angle.cos(), 500.0 + 200.0 * angle.sin()],
            150.0,
            figure,
        );
    }
    canvas.circle([500.0, 500.0], 120.0, ground);
}
