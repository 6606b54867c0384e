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

VERSIONS = """\
beautifulsoup4==4.8.2
blake3==0.4.1
chardet==5.2.0
cryptography==38.0.0
django==4.2.7
faker==20.1.0
flask==3.0.3
flask-login==0.6.3
flask-mail==0.9.1
flask-restful==0.3.10
flask-wtf==1.2.1
folium==0.16.0
gensim==4.3.2
geopandas==0.13.2
geopy==2.4.1
holidays==0.29
keras==2.12.0
levenshtein==0.25.0
librosa==0.10.1
lxml==4.9.3
matplotlib==3.7.0
mechanize==0.4.9
natsort==7.1.1
networkx==2.8.8
nltk==3.8
numba==0.57.1
numpy==1.23.5
opencv-python-headless==4.9.0.80
openpyxl==3.1.2
pandas==2.0.3
pillow==10.3.0
prettytable==3.10.0
psutil==5.9.5
pycryptodome==3.14.1
pyfakefs==5.4.1
pyquery==1.4.3
pytesseract==0.3.10
python-docx==1.1.0
python-http-client==3.3.7
pytz==2023.3.post1
pyyaml==6.0.1
requests==2.31.0
requests-mock==1.11.0
rsa==4.9
scikit-image==0.20.0
scikit-learn==1.3.1
scipy==1.9.3
seaborn==0.13.2
sendgrid==6.11.0
shapely==2.0.4
soundfile==0.12.1
statsmodels==0.14.0
sympy==1.12
tensorflow==2.12.1
textblob==0.18.0
texttable==1.7.0
werkzeug==3.0.1
wikipedia==1.4.0
wordcloud==1.9.3
wordninja==2.0.0
wtforms==3.1.2
xlrd==2.0.1
xlwt==1.3.0
xmltodict==0.13.0
"""
"""The versions that BigCodeBench's tests were written for (Requirements/requirements-eval.txt).

Where a version does not exist for Python 3.11, the first that does takes its place: keras, numba,
numpy, scikit-image, scipy, tensorflow, and networkx.
"""

ALSO = {"pandas": ("openpyxl", "xlrd")}
"""What a library imports only when it is asked to: pandas needs these for Excel's files."""

_MISSING = re.compile(r"(?:ModuleNotFoundError: No module named|ImportError: Missing optional dependency) '(\w[\w.]*)'")


def missing_module(message: str | None) -> str | None:
    """The top-level module that an error message says is not there.

    missing_module("ModuleNotFoundError: No module named 'cv2.aruco'")    # cv2
    """
    found = _MISSING.search(message or "")
    return found.group(1).split(".")[0] if found else None


def missing_library(message: str | None) -> str | None:
    """The known library that an error message says is not there.

    missing_library("ModuleNotFoundError: No module named 'numpy'")    # numpy
    """
    name = missing_module(message)
    return name if name in KNOWN else None
