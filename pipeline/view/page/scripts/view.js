"use strict";
// The one name that the page defines: `view`. Each script adds its part; index.html says in which order they are read.
// `waiting` counts answers that are on their way.
window.view = { views: {}, parts: {}, waiting: 0 };

// Read another classic script of the page once, such as a library that only some views need. Fails with one line.
view.load = (() => {
  const asked = new Map();
  return (path) => {
    if (!asked.has(path)) {
      asked.set(path, new Promise((done, failed) => {
        const node = document.createElement("script");
        node.src = path;
        node.onload = () => done();
        node.onerror = () => (asked.delete(path), node.remove(),
          failed(new Error(`${path} cannot be read: is the folder whole, does the server run?`)));
        document.head.append(node);
      }));
    }
    return asked.get(path);
  };
})();
