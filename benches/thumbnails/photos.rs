//! Generated photos: clouds of seven sizes with the grain of a sensor, which cost a decoder as much as real photos.

use anyhow::Result;
use image::{Rgb, RgbImage, codecs::jpeg::JpegEncoder};

const WIDTH: u32 = 4000;
const HEIGHT: u32 = 3000;

/// A JPEG of 4000 by 3000 pixels; each `seed` gives another one.
pub fn photo(seed: u32) -> Result<Vec<u8>> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut clouds = vec![0_f32; (WIDTH * HEIGHT) as usize];
    for octave in 0..7 {
        let cell = 1024_u32 >> octave;
        let columns = WIDTH / cell + 2;
        let heights: Vec<f32> = (0..columns * (HEIGHT / cell + 2))
            .map(|_| (random() % 1000) as f32 / 1000.0)
            .collect();
        let strength = 0.5_f32.powi(octave + 1);
        for (at, cloud) in clouds.iter_mut().enumerate() {
            let (x, y) = (at as u32 % WIDTH, at as u32 / WIDTH);
            let (right, down) = (
                (x % cell) as f32 / cell as f32,
                (y % cell) as f32 / cell as f32,
            );
            let corner = |dx, dy| heights[((y / cell + dy) * columns + x / cell + dx) as usize];
            let above = corner(0, 0) * (1.0 - right) + corner(1, 0) * right;
            let below = corner(0, 1) * (1.0 - right) + corner(1, 1) * right;
            *cloud += (above * (1.0 - down) + below * down) * strength;
        }
    }
    let image = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
        let cloud = clouds[(y * WIDTH + x) as usize];
        let grain = (random() % 9) as f32 - 4.0;
        let shade = |light: f32| (light + grain).clamp(0.0, 255.0) as u8;
        Rgb([
            shade(cloud * 255.0),
            shade(cloud * 200.0 + 30.0),
            shade((1.0 - cloud) * 220.0),
        ])
    });
    let mut jpeg = vec![];
    JpegEncoder::new_with_quality(&mut jpeg, 90).encode_image(&image)?;
    Ok(jpeg)
}
