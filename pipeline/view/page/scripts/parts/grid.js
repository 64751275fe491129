"use strict";
// A table of rows that are asked for as they scroll into sight: AG Grid with its infinite row model. Never holds all rows.
(() => {
  const { html, useEffect, useRef, useState } = preact, f = view.format;
  const BLOCK = 100, BLOCKS = 12;

  const looks = () => agGrid.themeQuartz.withParams({
    backgroundColor: "var(--bg)", foregroundColor: "var(--ink)", textColor: "var(--ink)", borderColor: "var(--line)",
      accentColor: "var(--link)", chromeBackgroundColor: "var(--card)",
    headerBackgroundColor: "var(--card)", headerTextColor: "var(--dim)", rowHoverColor: "var(--card)",
      selectedRowBackgroundColor: "var(--chosen)",
    fontFamily: "inherit", fontSize: 13, headerFontSize: 12, headerFontWeight: 600, rowHeight: 30, headerHeight: 42, spacing: 6,
      wrapperBorderRadius: 8, browserColorScheme: "inherit",
  });

  const column = (name, sort, index, extra) => ({
    field: name, colId: name, headerName: view.columns.heading(name), sortable: true, unSortIcon: false, sort: sort ?? null,
      sortIndex: index < 0 ? null : index,
    type: undefined, valueFormatter: ({ value }) => view.columns.shown(name, value), cellClass: view.columns.kind(name) === "text" ? ""
      : "figure",
    headerClass: view.columns.kind(name) === "text" ? "" : "figure", ...extra,
  });

  // query: what is asked, without offset and limit; columns: names shown; onSort([[name, direction]]); onPick(row, index);
  // onTotal(count); chosen(row): whether a row is the one shown elsewhere. `again`: a number that grows when rows may have changed.
  function Grid({ label, query, columns, widths = {}, onSort, onPick, onTotal, chosen, again, reveal, source }) {
    const host = useRef(null), grid = useRef(null), now = useRef({}), [error, setError] = useState(null);
    now.current = { query, onSort, onPick, onTotal, chosen, source };

    const rows = {
      async getRows({ startRow, endRow, successCallback, failCallback }) {
        const asked = now.current.query;
        try {
          const answer = await now.current.source.rows({ ...asked, offset: startRow, limit: endRow - startRow });
          if (asked !== now.current.query) return failCallback();
          now.current.onTotal?.(answer.total);
          setError(null);
          host.current.dataset.rows = answer.total;
          successCallback(answer.rows.map((row) => Object.fromEntries(answer.columns.map((name, i) => [name, row[i]]))), answer.total);
        } catch (problem) {
          setError(problem.message);
          successCallback([], startRow);
        }
      },
    };

    const defined = () => columns.map((name, place) => {
      const width = widths[name] ?? { text: 140, share: 120, number: 104 }[view.columns.kind(name)];
      const index = (query.sort ?? []).findIndex(([by]) => by === name);
      return column(name, index < 0 ? null : query.sort[index][1], index, place ? { width } : { flex: 1, minWidth: width, width });
    });

    useEffect(() => {
      let alive = true;
      view.load("vendor/grid.js").then(() => {
        if (!alive) return;
        grid.current = agGrid.createGrid(host.current, {
          theme: looks(), rowModelType: "infinite", cacheBlockSize: BLOCK, maxBlocksInCache: BLOCKS, maxConcurrentDatasourceRequests: 2,
            infiniteInitialRowCount: 1,
          columnDefs: defined(), datasource: rows, multiSortKey: "ctrl", suppressMovableColumns: true,
            suppressDragLeaveHidesColumns: true, enableCellTextSelection: true, ensureDomOrder: true,
          defaultColDef: { resizable: true, minWidth: 60, wrapHeaderText: true, autoHeaderHeight: true, sortingOrder: ["desc", "asc", null] }, getRowId: undefined,
          rowClassRules: { chosen: ({ data }) => Boolean(data && now.current.chosen?.(data)) },
          onRowClicked: ({ data, rowIndex }) => data && now.current.onPick?.(data, rowIndex),
          onCellKeyDown: ({ event, data, rowIndex }) => event.key === "Enter" && data && now.current.onPick?.(data, rowIndex),
          onSortChanged: ({ api, source: by }) => by === "uiColumnSorted" && now.current.onSort?.(
            api.getColumnState().filter(({ sort }) => sort).sort((a, b) => a.sortIndex - b.sortIndex).map(({ colId, sort }) =>
              [colId, sort])),
        });
      }, (problem) => setError(problem.message));
      return () => { alive = false; grid.current?.destroy(); grid.current = null; };
    }, []);

    const asked = JSON.stringify(query), first = useRef(true);
    useEffect(() => { if (first.current) return void (first.current = false); grid.current?.setGridOption("columnDefs", defined()); },
      [columns.join(), asked]);
    const began = useRef(asked);
    useEffect(() => { if (began.current !== asked) { began.current = asked; grid.current?.setGridOption("datasource", rows); } }, [asked]);
    const seen = useRef(again);
    useEffect(() => { if (seen.current !== again) { seen.current = again; grid.current?.refreshInfiniteCache(); } }, [again]);
    useEffect(() => { grid.current?.redrawRows(); if (reveal !== undefined && reveal !== null && grid.current
      && reveal < grid.current.getDisplayedRowCount()) grid.current.ensureIndexVisible(reveal); });

    return html`<div class="grid-frame">${error && html`<${view.parts.Note} role="alert">${f.text(error, 400)}<//>`}
      <div class="grid" role="region" aria-label=${label} ref=${host}></div></div>`;
  }

  view.parts.Grid = Grid;
})();
