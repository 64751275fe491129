"use strict";
// Answers from the server that serves the page, by addresses relative to it. See source/static.js for the same from files.
(() => {
  async function answered(response) {
    const value = await response.json().catch(() => ({ error: `status ${response.status}` }));
    if (!response.ok) throw new Error(value.error ?? `status ${response.status}`);
    return value;
  }

  async function ask(path, options) {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Error("the server does not answer: is `barrage view` still running?");
    }
    return response.status === 304 ? null : answered(response);
  }

  const query = (values) =>
    new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined)).toString();
  const post = (path, value) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });
  const picture = (row, what) =>
    `api/picture.png?${query({ store: row.store, cell: row.cell, shard: row.shard, key: row.image_key, what })}`;

  view.live = () => ({
    // Return the stores, or null where nothing changed since `revision`.
    stores: (revision) => ask(`api/stores.json${revision === undefined ? "" : `?revision=${encodeURIComponent(revision)}`}`),
    rows: (asked) => post("api/rows.json", asked),
    image: (store, shard, key) => ask(`api/image.json?${query({ store, shard, key })}`),
    draws: (row) => ask(`api/draws.json?${query({ store: row.store, cell: row.cell, shard: row.shard, key: row.image_key })}`),
    compare: (asked) => ask(`api/compare.json?${query(asked)}`),
    errors: (asked) => ask(`api/errors.json?${query(asked)}`),
    picture,
    // Return why a picture does not show, in one line.
    async why(row, what) {
      try {
        await ask(picture(row, what));
      } catch (error) {
        return error.message;
      }
      return "not a picture";
    },
  });
})();
