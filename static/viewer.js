'use strict';
// Pictures at full size: arrows lead from one to the next, Esc closes.
(() => {
  let at = null;

  const element = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const icon = (name) => {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
    svg.setAttribute('class', 'icon');
    use.setAttribute('href', `#i-${name}`);
    svg.append(use);
    return svg;
  };
  const button = (name, label) => element('button', { type: 'button', class: `round ${name}`, 'aria-label': label }, icon(name));

  const image = element('img', { alt: 'photo' });
  const words = element('p', { class: 'hint', hidden: '' }, 'This file cannot be shown here. It can be downloaded.');
  const download = element('a', { class: 'round', 'aria-label': 'Download', download: '' }, icon('download'));
  const close = button('close', 'Close');
  const left = button('left', 'Previous');
  const right = button('right', 'Next');
  const dialog = element('dialog', { class: 'viewer', 'aria-label': 'Photo' },
    element('div', { class: 'tools' }, download, close), left, element('figure', {}, image, words), right);
  document.body.append(dialog);

  const photos = () => [...document.querySelectorAll('a[data-full]')];
  const find = () => photos().findIndex((photo) => photo.dataset.full === at);

  function show(photo) {
    at = photo.dataset.full;
    words.hidden = true;
    image.hidden = false;
    image.src = photo.href;
    download.href = photo.href;
    const all = photos();
    const place = all.indexOf(photo);
    left.disabled = place <= 0;
    right.disabled = place >= all.length - 1;
    if (!dialog.open) dialog.showModal();
    // A button that becomes disabled loses the focus, and the dialog then gets no key events.
    if (!dialog.contains(document.activeElement) || document.activeElement.disabled) close.focus();
  }

  function step(by) {
    const photo = photos()[find() + by];
    if (photo) show(photo);
  }

  document.addEventListener('click', (event) => {
    const photo = event.target.closest?.('a[data-full]');
    if (!photo || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(photo);
  });
  close.addEventListener('click', () => dialog.close());
  left.addEventListener('click', () => step(-1));
  right.addEventListener('click', () => step(1));
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog || event.target.nodeName === 'FIGURE') dialog.close();
  });
  dialog.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowLeft') step(-1);
    if (event.key === 'ArrowRight') step(1);
  });
  dialog.addEventListener('close', () => {
    at = null;
    image.removeAttribute('src');
    download.removeAttribute('href');
  });
  image.addEventListener('error', () => {
    if (!image.hasAttribute('src')) return;
    image.hidden = true;
    words.hidden = false;
  });
  // If its photo is unsent, the viewer closes at once.
  document.addEventListener('shown', () => {
    if (dialog.open && find() < 0) dialog.close();
  });
})();
