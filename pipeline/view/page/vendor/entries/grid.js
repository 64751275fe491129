import {
  CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, ModuleRegistry, RowStyleModule, createGrid, themeQuartz,
} from "ag-grid-community";

ModuleRegistry.registerModules([CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, RowStyleModule]);
export { createGrid, themeQuartz };
