import { decompress } from "fzstd";
import { parquetMetadata, parquetRead } from "hyparquet";

export const compressors = { ZSTD: (input, length) => decompress(input, new Uint8Array(length)) };
export { parquetMetadata, parquetRead };
