"use strict";
// Answers from the files of an export, read as classic scripts, so that the page works from file:// too. Each data/NAME.js calls
// view.data("NAME", value):
//
//   stores                 what api/stores.json answers, and "static": {"rows": {STORE: NAME}, "images": {STORE: number of chunks},
//                          "compare": [[first, first_cell, second, second_cell, rule, top, NAME], ...],
//                          "errors": [[store, cell, rule, top, NAME], ...]}
//   rows-STORE             base64 of one Parquet file (zstd, snappy or none) with the columns of a row but clean, adv and outcome, and
//                          instead of those clean_RULE_TOP and adv_RULE_TOP, such as clean_single_1: shares of right draws, null in failed rows
//   image-STORE-N          {SHARD + "/" + KEY: what api/image.json answers}, N = chunk(SHARD + "/" + KEY, number of chunks)
//   draws-STORE-PICTURE    what api/draws.json answers, PICTURE the number in the row's column `picture`
//   compare-N, errors-...  what api/compare.json and api/errors.json answer
//
// Pictures are pictures/STORE/PICTURE-WHAT.png.
(() => {
  const held = new Map(), NAME = /^[A-Za-z0-9_-]+$/;

  view.data = (name, value) => held.set(name, value);

  async function data(name, keep = true) {
    if (!NAME.test(name)) throw new Error("this export names a file that it cannot have");
    if (!held.has(name)) await view.load(`data/${name}.js`);
    if (!held.has(name)) throw new Error(`data/${name}.js is not of this export`);
    const value = held.get(name);
    if (!keep) held.delete(name);
    return value;
  }

  // Return FNV-1a (32 bits) of the UTF-8 of a text, modulo `chunks`.
  function chunk(text, chunks) {
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    return hash % chunks;
  }

  const bytes = (base64) => {
    const raw = atob(base64), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  };

  const tables = new Map();
  async function table(store) {
    if (!tables.has(store)) {
      const name = (await data("stores")).static.rows[store];
      if (name === undefined) throw new Error("this export holds no rows of that store");
      tables.set(store, Promise.all([data(name, false), view.load("vendor/parquet.js")]).then(([text]) => view.engine(bytes(text))));
    }
    return tables.get(store);
  }

  async function rows(asked) {
    return (await table(asked.store)).answer(asked);
  }

  // Return an image's rows: from its chunk, else (not all images have their draws in the export) from the table.
  async function image(store, shard, key) {
    const chunks = (await data("stores")).static.images?.[store] ?? 0, name = `${shard}/${key}`;
    const found = chunks ? (await data(`image-${store}-${chunk(name, chunks)}`))[name] : undefined;
    if (found) return found;
    const where = [["shard", "=", shard], ["image_key", "=", key]], answer = await rows({ store, where, limit: 1000 });
    const all = answer.rows.map((row) => Object.fromEntries(answer.columns.map((column, i) => [column, row[i]])));
    return { rows: all, label_name: all[0]?.label_name ?? null };
  }

  // Return what was computed for these values; the export holds the rules and pairs that its maker asked for.
  const computed = (kind, what, stores, cells) => async (asked) => {
    const names = [...stores.flatMap((name, i) => [name, cells[i]]), "rule", "top"], wanted = names.map((name) => String(asked[name]));
    const found = (await data("stores")).static[kind]?.find((entry) => wanted.every((value, i) => String(entry[i]) === value));
    if (!found) throw new Error(`this export holds no ${what} of ${cells.map((name) => view.format.text(asked[name])).join(" and ")} under `
      + `the rule ${view.format.text(asked.rule)}, top-${view.format.text(asked.top)}: \`barrage view\` on the stores shows any`);
    return data(found[names.length]);
  };

  view.static = () => ({
    exported: true,
    stores: async (revision) => (revision === undefined ? data("stores") : null),
    rows,
    image,
    draws: async (row) => {
      if (view.format.missing(row.picture)) throw new Error("the pictures of this image are not in the export");
      return data(`draws-${row.store}-${Number(row.picture)}`);
    },
    compare: computed("compare", "comparison", ["first", "second"], ["first_cell", "second_cell"]),
    errors: computed("errors", "errors", ["store"], ["cell"]),
    picture: (row, what) => (view.format.missing(row.picture) ? null
      : `pictures/${encodeURIComponent(row.store)}/${Number(row.picture)}-${what}.png`),
    why: async () => "not in the export",
    chunk,
  });
})();
