'use strict';
// Live pages: when the server reports a change, the script reads the page again and patches the differences in place.
// Markup is never made from strings: the browser parses the page as an inert document.
(() => {
  const PAUSE = 500; // at most two refreshes a second
  let shown = location.pathname + location.search;
  let turn = 0;
  let reading = false;
  let again = false;
  let last = -PAUSE;

  function read(address, byHand) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open('GET', address);
      request.responseType = 'document';
      request.timeout = 15000;
      if (!byHand) request.setRequestHeader('x-refresh', '1');
      request.onload = () => {
        const page = request.response;
        if (request.status === 200 && page?.getElementById('main')) resolve(page);
        else reject(request.status);
      };
      request.onerror = request.ontimeout = () => reject(0);
      request.send();
    });
  }

  // ---- patching

  function remove(node) {
    for (const media of node.querySelectorAll?.('video, audio') ?? []) {
      media.pause();
      media.removeAttribute('src');
      media.load();
    }
    node.remove();
  }

  function patch(old, fresh) {
    if (old.nodeName === 'DETAILS' && old.open) fresh.open = true;
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== Node.ELEMENT_NODE || old.nodeName !== fresh.nodeName || old.dataset.key !== fresh.dataset.key) {
      old.before(document.adoptNode(fresh));
      remove(old);
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    patchChildren(old, fresh);
  }

  function patchChildren(old, fresh) {
    const mine = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    const theirs = new Set([...fresh.children].map((child) => child.id));
    let at = old.firstChild;
    const skipGone = () => {
      while (at?.id && !theirs.has(at.id)) {
        const gone = at;
        at = at.nextSibling;
        remove(gone);
      }
    };
    for (const next of [...fresh.childNodes]) {
      skipGone();
      let match = null;
      if (next.id) match = mine.get(next.id) ?? null;
      else if (at && !at.id && at.nodeName === next.nodeName) match = at;
      if (!match) {
        old.insertBefore(document.adoptNode(next), at);
        if (next.nodeName === 'LI') next.classList.add('fresh');
        continue;
      }
      // Nodes without an id that stand before the match are removed; nodes with an id are moved when their turn comes.
      while (at && at !== match && !at.id) {
        const gone = at;
        at = at.nextSibling;
        remove(gone);
        skipGone();
      }
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      patch(match, next);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      remove(gone);
    }
  }

  // Keeps the entry that is being read at its position on the screen. If the newest entry is in sight, the page follows
  // new ones.
  function holding(work) {
    const box = document.getElementById('scroll');
    const top = box?.getBoundingClientRect().top;
    const held = box && Math.abs(box.scrollTop) > 8
      ? [...box.querySelectorAll('li[id]')].find((entry) => entry.getBoundingClientRect().bottom > top)
      : null;
    const before = held?.getBoundingClientRect().top;
    work();
    if (held?.isConnected) box.scrollTop += held.getBoundingClientRect().top - before;
  }

  function show(page) {
    holding(() => patch(document.getElementById('main'), page.getElementById('main')));
    document.title = page.title;
    document.body.dataset.live = page.body.dataset.live;
    delete document.documentElement.dataset.covered;
    document.dispatchEvent(new Event('shown'));
  }

  // ---- reading again

  async function refresh() {
    again = true;
    if (reading) return;
    reading = true;
    while (again) {
      const rest = last + PAUSE - performance.now();
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
      again = false;
      last = performance.now();
      const mine = turn;
      try {
        const page = await read(shown, false);
        if (mine === turn) show(page);
      } catch (status) {
        // Signed out, or the page is not allowed or not found any more: the server's answer says what to do.
        if (status === 401 || status === 403 || status === 404) return location.reload();
        setTimeout(refresh, 3000);
      }
    }
    reading = false;
  }

  // A notice outside of `main`, which is replaced by each refresh. It is in the page from the start: screen readers announce
  // only changes of a status that they know.
  const GRACE = 4000; // a stream that broke is back after about two seconds, if the server is there
  const notice = document.createElement('p');
  notice.className = 'unconnected';
  notice.setAttribute('role', 'status');
  let outage = 0;
  function connected() {
    clearTimeout(outage);
    outage = 0;
    notice.textContent = '';
  }
  function disconnected() {
    outage ||= setTimeout(() => {
      notice.textContent = 'Not connected: new messages do not appear. Trying again.';
    }, GRACE);
  }

  let source = null;
  let later = 0;
  function listen() {
    source?.close();
    clearTimeout(later);
    source = new EventSource(`/live?since=${encodeURIComponent(document.body.dataset.live)}`);
    source.addEventListener('open', connected);
    source.addEventListener('changed', refresh);
    // Another tab took this stream's slot. A visible tab resumes after 15 seconds, a hidden one when it is shown again.
    source.addEventListener('yield', () => {
      source.close();
      if (!document.hidden) later = setTimeout(resume, 15000);
    });
    source.addEventListener('error', () => {
      disconnected();
      if (source.readyState === EventSource.CLOSED) later = setTimeout(resume, 5000);
    });
  }

  function resume() {
    refresh();
    listen();
  }

  // ---- from one conversation to the next, without leaving the page

  async function go(address, push) {
    const mine = ++turn;
    try {
      const page = await read(address, true);
      if (mine !== turn) return;
      if (push) history.pushState(null, '', address);
      shown = location.pathname + location.search;
      show(page);
    } catch {
      location.assign(address);
    }
  }

  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[data-swap]');
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.href, true);
  });

  addEventListener('popstate', () => {
    if (location.pathname + location.search !== shown) go(location.href, false);
  });

  document.addEventListener('keydown', (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || event.target.closest('input, textarea')) return;
    if (document.querySelector('dialog[open]')) return;
    if (event.key === 'm') document.querySelector('a.media')?.click();
    if (event.key !== 'j' && event.key !== 'k') return;
    const rows = [...document.querySelectorAll('a.row')];
    const now = rows.findIndex((row) => row.hasAttribute('aria-current'));
    const next = rows[now < 0 ? 0 : now + (event.key === 'j' ? 1 : -1)];
    if (!next) return;
    next.focus();
    go(next.href, true);
  });

  // A page from the back/forward cache may show a message that was unsent since: it is covered until it is read again.
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    document.documentElement.dataset.covered = '';
    if (document.body.dataset.live) resume();
    else location.reload();
  });

  if (document.body.dataset.live) {
    document.body.append(notice);
    listen();
    document.querySelector('a.row[aria-current]')?.scrollIntoView({ block: 'nearest' });
    if ('stale' in document.documentElement.dataset) refresh();
    addEventListener('online', refresh);
    addEventListener('pagehide', () => {
      source.close();
      connected();
    });
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && source.readyState === EventSource.CLOSED) resume();
    });
  }
})();
