import {
  CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, ModuleRegistry, RowApiModule,
  RowStyleModule, ScrollApiModule, createGrid, themeQuartz,
} from "ag-grid-community";

ModuleRegistry.registerModules([CellStyleModule, ColumnApiModule, ColumnAutoSizeModule, InfiniteRowModelModule, RowApiModule, RowStyleModule, ScrollApiModule]);
export { createGrid, themeQuartz };
