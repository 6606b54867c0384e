"""Libraries that benchmarks and models use, by the name under which they are imported.

An answer that imports one of them where the sandbox lacks it says nothing about the model. An
answer that imports anything else that is not there is wrong.
"""

from __future__ import annotations

import re

PACKAGES = {
    "Crypto": "pycryptodome",
    "Levenshtein": "levenshtein",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "faker": "faker",
    "flask_login": "flask-login",
    "flask_mail": "flask-mail",
    "flask_restful": "flask-restful",
    "flask_wtf": "flask-wtf",
    "mpl_toolkits": "matplotlib",
    "pkg_resources": "setuptools",
    "prettytable": "prettytable",
    "pyquery": "pyquery",
    "pytesseract": "pytesseract",
    "python_http_client": "python-http-client",
    "rsa": "rsa",
    "sendgrid": "sendgrid",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "texttable": "texttable",
    "werkzeug": "werkzeug",
    "yaml": "pyyaml",
}
"""The PyPI name, where it may differ from the imported one."""

KNOWN = frozenset(PACKAGES) | frozenset(
    [
        "blake3",
        "chardet",
        "cryptography",
        "django",
        "flask",
        "folium",
        "gensim",
        "geopandas",
        "geopy",
        "gmpy2",
        "holidays",
        "keras",
        "librosa",
        "lxml",
        "matplotlib",
        "mechanize",
        "more_itertools",
        "natsort",
        "networkx",
        "nltk",
        "numba",
        "numpy",
        "openpyxl",
        "pandas",
        "psutil",
        "pycountry",
        "pyfakefs",
        "pytest",
        "pytz",
        "regex",
        "requests",
        "requests_mock",
        "scipy",
        "seaborn",
        "shapely",
        "simplejson",
        "six",
        "sortedcontainers",
        "soundfile",
        "statsmodels",
        "sympy",
        "tensorflow",
        "textblob",
        "torch",
        "tqdm",
        "unidecode",
        "wikipedia",
        "wordcloud",
        "wordninja",
        "wtforms",
        "xlrd",
        "xlwt",
        "xmltodict",
    ]
)
"""Names that are imported. All of them are on PyPI."""

_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def missing_library(message: str | None) -> str | None:
    """The known library that an error message says is not there.

    missing_library("ModuleNotFoundError: No module named 'numpy'")    # numpy
    """
    found = _MISSING.search(message or "")
    name = found.group(1).split(".")[0] if found else None
    return name if name in KNOWN else None
