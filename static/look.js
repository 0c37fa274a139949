'use strict';
// Tells the server the browser's time zone and theme in cookies, so that pages are right from the start.
(() => {
  const keep = (name, value) => {
    const secure = location.protocol === 'https:' ? '; Secure' : '';
    document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  };
  const kept = (name) => document.cookie.split('; ').find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && kept('zone') !== zone) {
    keep('zone', zone);
    document.documentElement.dataset.stale = '';
  }

  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  for (const button of document.querySelectorAll('[data-theme-switch]')) {
    button.hidden = false;
    button.addEventListener('click', () => {
      const theme = (root.dataset.theme ?? (dark.matches ? 'dark' : 'light')) === 'dark' ? 'light' : 'dark';
      root.dataset.theme = theme;
      keep('theme', theme);
    });
  }

  // A click outside of the account menu closes it.
  const menu = document.querySelector('details.me');
  document.addEventListener('click', (event) => {
    if (menu?.open && !menu.contains(event.target)) menu.open = false;
  });
  menu?.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      menu.open = false;
      menu.querySelector('summary').focus();
    }
  });
})();
