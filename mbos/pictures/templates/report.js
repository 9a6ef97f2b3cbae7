'use strict';
(() => {
  const words = new Intl.Collator('en', {numeric: true});
  const text = (row, column) => row.children[column].textContent;

  // Undefined figures, shown as a dash, come last in either order.
  function sort(table, head, column) {
    const up = head.getAttribute('aria-sort') !== 'ascending';
    const sign = up ? 1 : -1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [text(a, column), text(b, column)];
      if (column === 0) return sign * words.compare(x, y);
      const [p, q] = [parseFloat(x), parseFloat(y)];
      if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
      return sign * (p - q);
    });
    head.parentElement.querySelectorAll('th').forEach((th) => th.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    table.tBodies[0].append(...rows);
  }

  document.querySelectorAll('table.sortable').forEach((table) => {
    [...table.tHead.rows[0].children].forEach((head, column) => {
      head.querySelector('button').addEventListener('click', () => sort(table, head, column));
    });
  });
})();
