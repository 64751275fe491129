import {
  CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, ModuleRegistry, RowApiModule,
  RowStyleModule, createGrid, themeQuartz,
} from "ag-grid-community";

ModuleRegistry.registerModules([CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, RowApiModule, RowStyleModule]);
export { createGrid, themeQuartz };
