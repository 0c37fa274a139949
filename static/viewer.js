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
  const words = element('div', { class: 'hint', role: 'status', hidden: '' });
  const download = element('a', { class: 'round', 'aria-label': 'Download', download: '' }, icon('download'));
  const close = button('close', 'Close');
  const left = button('left', 'Previous');
  const right = button('right', 'Next');
  const dialog = element('dialog', { class: 'viewer', 'aria-label': 'Photo' },
    element('div', { class: 'tools' }, download, close), left, element('figure', {}, image, words), right);
  document.body.append(dialog);

  const photos = () => [...document.querySelectorAll('a[data-full]')];
  const find = () => photos().findIndex((photo) => photo.dataset.full === at);

  // Why a photo is not shown: a picture's event does not tell, but the server's error page does. As in live.js, the browser
  // parses the page as an inert document.
  const DOWNLOAD = ['This file cannot be shown here.', 'It can be downloaded.'];
  const BROKEN = ['This file did not arrive completely.', 'It is damaged, or the connection broke. Look again in a few minutes.'];
  let request = null;
  function explain() {
    image.hidden = true;
    request?.abort();
    request = new XMLHttpRequest();
    const mine = request;
    mine.open('GET', image.src);
    mine.onreadystatechange = () => {
      if (mine.readyState === XMLHttpRequest.HEADERS_RECEIVED) mine.responseType = mine.status === 200 ? 'blob' : 'document';
    };
    mine.onload = () => {
      if (mine.status === 200) return say(DOWNLOAD);
      const page = mine.response?.querySelectorAll('main h1, main h1 ~ p:not(.ways)') ?? [];
      say(page.length ? [...page].map((part) => part.textContent) : BROKEN);
    };
    mine.onerror = () => say(BROKEN);
    mine.send();
  }

  function say(sentences) {
    words.replaceChildren(...sentences.map((sentence) => element('p', {}, sentence)));
    words.hidden = false;
    download.hidden = sentences !== DOWNLOAD;
    if (!dialog.contains(document.activeElement)) close.focus();
  }

  function show(photo) {
    request?.abort();
    at = photo.dataset.full;
    words.hidden = true;
    download.hidden = false;
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
    request?.abort();
    image.removeAttribute('src');
    download.removeAttribute('href');
  });
  image.addEventListener('error', () => {
    if (image.hasAttribute('src')) explain();
  });
  // If its photo is unsent, the viewer closes at once.
  document.addEventListener('shown', () => {
    if (dialog.open && find() < 0) dialog.close();
  });
})();
