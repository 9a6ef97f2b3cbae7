'use strict';
(() => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find('data').textContent);
  const grid = find('grid');
  const cards = [...grid.children];
  const boxes = [...document.getElementsByName('layer')];
  const viewer = find('viewer');
  const words = new Intl.Collator('en', {numeric: true});
  let state = {};
  let visible = [];

  // The hash tells all that is shown: a link or a reload brings it back.
  function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const sort = given.get('sort') || '';
    state = {
      sort: data.columns.includes(sort) ? sort : '',
      order: given.get('order') === 'desc' ? 'desc' : 'asc',
      off: (given.get('off') || '').split(',').filter(Boolean),
      find: given.get('find') || '',
      flagged: given.get('flagged') === '1',
      size: Number(given.get('size')) || 260,
      open: given.get('open'),
    };
  }

  function writeHash() {
    const told = new URLSearchParams();
    if (state.sort) told.set('sort', state.sort);
    if (state.order !== 'asc') told.set('order', state.order);
    if (state.off.length) told.set('off', state.off.join(','));
    if (state.find) told.set('find', state.find);
    if (state.flagged) told.set('flagged', '1');
    if (state.size !== 260) told.set('size', state.size);
    if (state.open !== null) told.set('open', state.open);
    history.replaceState(null, '', '#' + told);
  }

  function shown(value) {
    if (value === null) return '–';
    if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
    return Math.abs(value) >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
  }

  // Undefined values come last in either order; equal ones by name.
  function compare(a, b) {
    const [one, two] = [data.images[a], data.images[b]];
    const sign = state.order === 'desc' ? -1 : 1;
    const byName = words.compare(one.name, two.name);
    if (!state.sort) return sign * byName;
    const column = data.columns.indexOf(state.sort);
    const [x, y] = [one.values[column], two.values[column]];
    if (x === null || y === null) return (x === null) - (y === null) || byName;
    const both = typeof x === 'number' && typeof y === 'number';
    return sign * (both ? x - y : words.compare(x, y)) || byName;
  }

  function isWanted(index) {
    const image = data.images[index];
    if (state.flagged && !image.flags.length) return false;
    return image.name.toLowerCase().includes(state.find.toLowerCase());
  }

  function arrange() {
    const order = cards.map((_, index) => index).sort(compare);
    visible = order.filter(isWanted);
    const wanted = new Set(visible);
    const column = data.columns.indexOf(state.sort);
    order.forEach((index) => {
      const card = cards[index];
      card.hidden = !wanted.has(index);
      card.querySelector('.figure').textContent = state.sort
        ? `${state.sort}: ${shown(data.images[index].values[column])}` : '';
    });
    grid.append(...order.map((index) => cards[index]));
    find('shown').textContent = visible.length === cards.length ? '' : `${visible.length} of ${cards.length} shown`;
    find('nothing').hidden = visible.length > 0;
  }

  function showLayers() {
    document.querySelectorAll('.layer').forEach((layer) => {
      layer.hidden = state.off.includes(layer.dataset.task);
    });
  }

  function showControls() {
    find('sort').value = state.sort;
    find('order').value = state.order;
    find('find').value = state.find;
    find('flagged').checked = state.flagged;
    find('size').value = state.size;
    grid.style.setProperty('--card', `${state.size}px`);
    boxes.forEach((box) => { box.checked = !state.off.includes(box.value); });
  }

  function row(name, value) {
    const line = document.createElement('tr');
    line.append(document.createElement('th'), document.createElement('td'));
    line.firstChild.scope = 'row';
    line.firstChild.textContent = name;
    line.lastChild.textContent = shown(value);
    return line;
  }

  function element(tag, className, text, more = {}) {
    return Object.assign(document.createElement(tag), {className, textContent: text}, more);
  }

  function showViewer() {
    const index = data.images.findIndex((image) => image.name === state.open);
    if (index < 0) {
      state.open = null;
      if (viewer.open) viewer.close();
      return;
    }
    const image = data.images[index];
    const picture = cards[index].querySelector('.picture');
    find('viewer-name').textContent = image.name;
    find('viewer-flags').replaceChildren(...image.flags.map((flag) => element('span', 'flag', flag)));
    find('viewer-links').replaceChildren(...image.links.map(([text, href]) => element('a', '', text, {href})));
    find('viewer-values').replaceChildren(...data.columns.map((name, i) => row(name, image.values[i])));
    const copies = [...picture.children].map((part) => part.cloneNode());
    copies.forEach((part) => { part.loading = 'eager'; });
    const frame = find('viewer-picture');
    frame.style.setProperty('--ratio', copies[0].getAttribute('width') / copies[0].getAttribute('height'));
    frame.replaceChildren(...copies);
    showLayers();
    if (!viewer.open) viewer.showModal();
  }

  function step(by) {
    if (!visible.length) return;
    const at = visible.findIndex((index) => data.images[index].name === state.open);
    const index = visible[(Math.max(at, 0) + by + visible.length) % visible.length];
    state.open = data.images[index].name;
    writeHash();
    showViewer();
  }

  function showAll() {
    showControls();
    showLayers();
    arrange();
    showViewer();
  }

  function change(event) {
    state.sort = find('sort').value;
    state.order = find('order').value;
    state.find = find('find').value;
    state.flagged = find('flagged').checked;
    state.size = Number(find('size').value);
    if (event.target.name === 'layer') {
      const {value, checked} = event.target;
      state.off = state.off.filter((task) => task !== value).concat(checked ? [] : [value]);
    }
    writeHash();
    showAll();
  }

  find('controls').addEventListener('input', change);
  find('viewer').addEventListener('input', change);
  find('controls').addEventListener('submit', (event) => event.preventDefault());
  grid.addEventListener('click', (event) => {
    const card = event.target.closest('.picture')?.parentElement;
    if (!card) return;
    state.open = data.images[Number(card.dataset.index)].name;
    writeHash();
    showViewer();
  });
  find('previous').addEventListener('click', () => step(-1));
  find('next').addEventListener('click', () => step(1));
  find('close').addEventListener('click', () => viewer.close());
  viewer.addEventListener('close', () => { state.open = null; writeHash(); });
  viewer.addEventListener('click', (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowLeft') step(-1);
    if (event.key === 'ArrowRight') step(1);
  });
  window.addEventListener('hashchange', () => { readHash(); showAll(); });
  readHash();
  showAll();
})();
