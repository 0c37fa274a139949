//! Generated photos of landscapes and cities.

use super::canvas::{Canvas, mix};

pub(super) fn sunset(canvas: &mut Canvas) {
    let height = canvas.height();
    let (high, low) = canvas.one_of(&[
        ([64, 48, 110], [255, 170, 100]),
        ([40, 70, 130], [250, 190, 130]),
        ([110, 50, 90], [255, 200, 110]),
    ]);
    canvas.gradient(0.0, height, high, low);
    let sun = [canvas.any(250.0, 750.0), height * 0.52];
    for ring in (0..6).rev() {
        let here = mix(high, low, 0.55);
        canvas.circle(
            sun,
            80.0 + 34.0 * ring as f32,
            mix([255, 236, 170], here, 0.35 + 0.11 * ring as f32),
        );
    }
    canvas.circle(sun, 78.0, [255, 240, 190]);
    for layer in 0..5 {
        let depth = layer as f32 / 4.0;
        canvas.hills(
            height * (0.6 + 0.09 * layer as f32),
            70.0,
            mix(mix(low, high, 0.6), [24, 20, 44], depth),
        );
    }
}

pub(super) fn lake(canvas: &mut Canvas) {
    let (height, shore) = (canvas.height(), canvas.height() * 0.58);
    canvas.gradient(0.0, shore, [120, 180, 230], [235, 240, 245]);
    canvas.gradient(shore, height, [150, 195, 225], [40, 90, 130]);
    let peaks = [
        canvas.any(120.0, 300.0),
        canvas.any(420.0, 580.0),
        canvas.any(700.0, 900.0),
    ];
    for (peak, colour) in peaks
        .into_iter()
        .zip([[96, 120, 150], [70, 96, 128], [110, 132, 158]])
    {
        let tall = shore * canvas.any(0.5, 0.8);
        let foot = tall * 0.9;
        let mountain = |sign: f32, top: f32| {
            [
                [peak - foot, shore],
                [peak, shore - sign * top],
                [peak + foot, shore],
            ]
        };
        canvas.polygon(
            &mountain(-1.0, tall * 0.7),
            mix(colour, [70, 120, 160], 0.6),
        );
        canvas.polygon(&mountain(1.0, tall), colour);
        let snow = shore - tall * 0.72;
        let half = foot * 0.28;
        let cap = [
            [peak - half, snow],
            [peak, shore - tall],
            [peak + half, snow],
            [peak + half * 0.4, snow - tall * 0.06],
            [peak, snow + tall * 0.05],
            [peak - half * 0.5, snow - tall * 0.05],
        ];
        canvas.polygon(&cap, [248, 250, 252]);
    }
    for _ in 0..26 {
        let (x, y, length) = (
            canvas.any(0.0, 1000.0),
            canvas.any(shore + 20.0, height),
            canvas.any(30.0, 140.0),
        );
        canvas.rectangle([x, y], [length, 3.0], [190, 218, 236]);
    }
    for _ in 0..30 {
        let (x, tall) = (canvas.any(0.0, 1000.0), canvas.any(40.0, 100.0));
        let tree = [
            [x - tall * 0.25, shore + 6.0],
            [x, shore - tall],
            [x + tall * 0.25, shore + 6.0],
        ];
        canvas.polygon(&tree, [34, 74, 62]);
    }
}

pub(super) fn city(canvas: &mut Canvas) {
    let height = canvas.height();
    canvas.gradient(0.0, height, [14, 18, 48], [94, 70, 120]);
    for _ in 0..60 {
        let star = [canvas.any(0.0, 1000.0), canvas.any(0.0, height * 0.5)];
        canvas.circle(star, 1.6, [220, 220, 240]);
    }
    canvas.circle([790.0, height * 0.2], 52.0, [250, 244, 214]);
    for layer in 0..3 {
        let wall = mix([70, 62, 112], [18, 18, 36], layer as f32 / 2.0);
        let mut x = -40.0;
        while x < 1000.0 {
            let width = canvas.any(70.0, 140.0);
            let top = height * canvas.any(0.28 + 0.14 * layer as f32, 0.62 + 0.1 * layer as f32);
            canvas.rectangle([x, top], [width, height], wall);
            windows(canvas, [x, top], width);
            x += width + canvas.any(2.0, 16.0);
        }
    }
}

fn windows(canvas: &mut Canvas, [x, top]: [f32; 2], width: f32) {
    let mut y = top + 16.0;
    while y < canvas.height() {
        let mut across = x + 12.0;
        while across < x + width - 16.0 {
            if canvas.any(0.0, 1.0) < 0.42 {
                let light = canvas.one_of(&[[255, 220, 140], [255, 196, 110], [200, 220, 255]]);
                canvas.rectangle([across, y], [9.0, 13.0], light);
            }
            across += 20.0;
        }
        y += 26.0;
    }
}

pub(super) fn beach(canvas: &mut Canvas) {
    let height = canvas.height();
    canvas.gradient(0.0, height * 0.42, [90, 180, 235], [205, 235, 250]);
    for _ in 0..4 {
        let cloud = [
            canvas.any(0.0, 1000.0),
            canvas.any(height * 0.06, height * 0.26),
        ];
        for puff in -2..=2_i32 {
            let radius = 46.0 - 12.0 * puff.abs() as f32;
            canvas.circle(
                [cloud[0] + 42.0 * puff as f32, cloud[1]],
                radius,
                [250, 253, 255],
            );
        }
    }
    canvas.gradient(height * 0.42, height, [20, 130, 180], [80, 200, 205]);
    canvas.hills(height * 0.7, 16.0, [244, 250, 250]);
    canvas.hills(height * 0.73, 16.0, [240, 218, 170]);
    let foot = [canvas.any(250.0, 700.0), height * 0.9];
    let (stripe, top) = (
        canvas.one_of(&[[226, 80, 70], [40, 120, 190], [240, 150, 50]]),
        height * 0.5,
    );
    canvas.ellipse([foot[0] + 60.0, foot[1]], [200.0, 22.0], [214, 190, 140]);
    canvas.curve(&[foot, [foot[0], top]], 12.0, [250, 250, 250]);
    for part in 0..6 {
        let (left, right) = (
            foot[0] - 210.0 + 70.0 * part as f32,
            foot[0] - 140.0 + 70.0 * part as f32,
        );
        let colour = if part % 2 == 0 {
            stripe
        } else {
            [252, 250, 244]
        };
        canvas.polygon(
            &[
                [left, top + 100.0],
                [foot[0], top - 40.0],
                [right, top + 100.0],
            ],
            colour,
        );
    }
}
