import { Component, Fragment, createRef, h, render } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { Component, Fragment, createRef, h, render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };
